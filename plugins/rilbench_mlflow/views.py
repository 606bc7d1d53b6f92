"""What the three comparison views of a study show: the values at the end, the forgetting, the pictures.

A view is the state of MLflow's page of runs: which runs it lists, how it groups them, and its charts in sections.
Names and values are those of the UI of MLflow 3.17.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rilbench.result import RunResult
from rilbench_mlflow.labels import LABEL
from rilbench_mlflow.pictures import AFTER_EACH, AFTER_LAST
from rilbench_mlflow.points import clean

Card = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the views need to know: how to find the runs, and what is logged of them.

    `runs` and `shown` are filters of MLflow's search: all runs, and those whose pictures are put side by side.
    `labels` name the strategies, `logged` all metrics, `pictures` all pictures.
    """

    results: Sequence[RunResult]
    runs: str
    shown: str
    labels: Iterable[str]
    logged: Iterable[str]
    pictures: Sequence[str]

    @property
    def metrics(self) -> list[str]:
        """The names of all that was measured, in order."""
        return list(dict.fromkeys(info.name for result in self.results for info in result.matrix.metrics))

    def span(self, metric: str) -> dict[str, float]:
        """The range of an axis that all values of a metric fill; MLflow's own begins at zero."""
        values = [value for result in self.results for value in result.matrix.values(metric) if isfinite(value)]
        if not values or min(values) == max(values):
            return {}
        margin = 0.05 * (max(values) - min(values))
        return {"yMin": min(values) - margin, "yMax": max(values) + margin}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Charts under a title, so many beside each other and so many pixels high."""

    title: str
    cards: Sequence[Card]
    columns: int = 2
    height: int = 320


def views(study: Study) -> dict[str, dict[str, Any]]:
    """Name to state of the page."""
    return {"final": _final(study), "forgetting": _forgetting(study), "pictures": _pictures(study)}


def _final(study: Study) -> dict[str, Any]:
    bars = [_bar(f"final/{clean(name)}") for name in study.metrics]
    average = Section(title="Mean gain over the rewards", cards=[_bar("summary/average")])
    return _grouped(study, [Section(title="After the last stage", cards=bars), average])


def _forgetting(study: Study) -> dict[str, Any]:
    names = study.metrics
    curves = [_line(f"eval/{clean(name)}", study.span(name)) for name in names]
    sections = [
        Section(title="Forgetting at the end", cards=[_bar(f"final_forgetting/{clean(name)}") for name in names]),
        Section(title="Value after each stage", cards=curves),
        Section(title="Forgetting after each stage", cards=[_line(f"forgetting/{clean(name)}", {}) for name in names]),
    ]
    return _grouped(study, sections)


def _pictures(study: Study) -> dict[str, Any]:
    """MLflow shows no pictures of groups: here every run is a column, and the list of runs makes room for them."""
    last = [key for key in study.pictures if key.startswith(AFTER_LAST)]
    each = [key for key in study.pictures if key.startswith(AFTER_EACH)]
    sections = [
        Section(title="After the last stage", cards=[_images(last, 0)], columns=1, height=900),
        Section(title="After each stage", cards=[_images(each, 1)], columns=1, height=900),  # every run has a stage 1
    ]
    # the UI adds a chart for every picture and metric that has none: a deleted one keeps it from doing so
    hidden = [*(_images([key], 0) for key in study.pictures), *(_bar(name) for name in study.logged)]
    state = _page(study.shown, sections, hidden)
    ungrouped = {"useGroupedValuesInCharts": False, "runListHidden": True}
    return state | ungrouped | {"orderByAsc": False}  # image grids turn the order round


def _grouped(study: Study, sections: Sequence[Section]) -> dict[str, Any]:
    """A chart shows a strategy's mean; the list of runs shows the strategies, with their runs folded in."""
    shown = {card["metricKey"] for section in sections for card in section.cards}
    state = _page(study.runs, sections, [_bar(name) for name in study.logged if name not in shown])
    return state | {"groupsExpanded": {f"tag.{LABEL}.{label}": False for label in study.labels}}


def _page(runs: str, sections: Sequence[Section], hidden: Sequence[Card]) -> dict[str, Any]:
    cards = [card | {"metricSectionId": section.title} for section in sections for card in section.cards]
    cards += [card | {"deleted": True} for card in hidden]
    return {
        "searchFilter": runs,
        "orderByKey": f"tags.`{LABEL}`",
        "orderByAsc": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": LABEL}]},
        "useGroupedValuesInCharts": True,
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # keeps our order of sections
        "compareRunSections": [
            {"uuid": s.title, "name": s.title, "display": True, "columns": s.columns, "cardHeight": s.height}
            for s in sections
        ],
        "compareRunCharts": [card | {"uuid": str(i)} for i, card in enumerate(cards)],
    }


def _bar(metric: str) -> Card:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 50}


def _line(metric: str, span: Mapping[str, float]) -> Card:
    """A curve over the stages: the mean of a strategy's runs, from their least to their greatest shaded."""
    axes = {"xAxisKey": "step", "useGlobalXaxisKey": False, "xAxisScaleType": "linear", "scaleType": "linear"}
    curve = {"type": "LINE", "metricKey": metric, "displayPoints": True, "runsCountToCompare": 50}
    return curve | axes | {"range": dict(span)}


def _images(keys: Sequence[str], step: int) -> Card:
    return {"type": "IMAGE", "imageKeys": list(keys), "step": step, "showRunParams": True}
