"""The comparison views of a study: a table, final values, forgetting, curves and images.

A view is the state of MLflow's page of runs: the listed runs, their groups, and charts in sections. Keys and values
are those of the UI of MLflow 3.17.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rilbench.contracts.result import RunResult
from rilbench_mlflow.pictures import AFTER_EACH, AFTER_LAST
from rilbench_mlflow.points import START, Shown, gain_key, shown_as

NAMES = ("table", "final", "forgetting", "stages", "pictures")
Card = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The data behind the views: how to find the runs, and what was logged.

    `runs` and `shown` are filters of MLflow's search: all runs, and those whose images are compared. `tag` is the tag
    with a run's label in the study, `labels` are its values, `logged` all metrics, `pictures` the images after the last
    stage.
    """

    results: Sequence[RunResult]
    tag: str
    runs: str
    shown: str
    labels: Iterable[str]
    logged: Iterable[str]
    pictures: Sequence[str]
    params: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """Columns of the list of runs: differing parameters, then every metric at the end and of the base."""
        params = [f"params.`{name}`" for name in self.params]
        keys = [metric.key(section) for section in ("final", START) for metric in self.metrics]
        return [*params, *(f"metrics.`{key}`" for key in (*keys, *self.gains))]

    @property
    def gains(self) -> list[str]:
        """The gains of the rewards that a run trained."""
        trained = {name for result in self.results for name in result.matrix.trained_rewards()}
        return [gain_key(metric) for metric in self.metrics if metric.info.name in trained]

    @property
    def metrics(self) -> list[Shown]:
        """All metrics, in order, each name once."""
        return list(dict.fromkeys(shown for result in self.results for shown in shown_as(result).values()))

    def span(self, metric: Shown) -> dict[str, float]:
        """The range of a metric's axis, fitted to its values; MLflow's own starts at zero."""
        every = (value for result in self.results for value in result.matrix.values(metric.info.name))
        values = [metric.of(value) for value in every if isfinite(value)]
        if not values or min(values) == max(values):
            return {}
        margin = 0.05 * (max(values) - min(values))
        return {"yMin": min(values) - margin, "yMax": max(values) + margin}


@dataclass(frozen=True, kw_only=True)
class Section:
    """Charts under a title: number of columns, and height in pixels."""

    title: str
    cards: Sequence[Card]
    columns: int = 2
    height: int = 320


def views(study: Study) -> dict[str, dict[str, Any]]:
    """Name to state of the page."""
    ungrouped = {"groupBy": None, "useGroupedValuesInCharts": False}
    made = (
        _page(study, [], []) | ungrouped,
        _grouped(study, _final(study)),
        _grouped(study, _forgetting(study)),
        _grouped(study, _stages(study)),
        _pictures(study),
    )
    return dict(zip(NAMES, made, strict=True))


def _final(study: Study) -> list[Section]:
    """Base and final values side by side, one metric per row."""
    bars = [_bar(metric.key(section)) for metric in study.metrics for section in (START, "final")]
    gains = Section(title="Gain of each reward", cards=[_bar(key) for key in study.gains])
    return [Section(title="Base model (start) and after the last stage (final)", cards=bars), gains]


def _forgetting(study: Study) -> list[Section]:
    bars = [_bar(metric.key("final_forgetting")) for metric in study.metrics]
    curves = [_line(metric.key("forgetting"), {}) for metric in study.metrics]
    after_each = Section(title="Forgetting after each stage", cards=curves)
    return [Section(title="Forgetting at the end", cards=bars), after_each]


def _stages(study: Study) -> list[Section]:
    """Stage 0 is the base model."""
    curves = [_line(metric.key("eval"), study.span(metric)) for metric in study.metrics]
    return [Section(title="Value after each stage", cards=curves)]


def _pictures(study: Study) -> dict[str, Any]:
    """MLflow shows no images for groups: here every run is a column, and the list of runs is hidden."""
    last = list(study.pictures)
    each = [key.replace(AFTER_LAST, AFTER_EACH, 1) for key in last]
    sections = [
        Section(title="After the last stage", cards=[_images(last, 0)], columns=1, height=900),
        Section(title="After each stage", cards=[_images(each, 1)], columns=1, height=900),  # every run has a stage 1
    ]
    # the UI adds a chart for every image and metric without one, unless there is a deleted chart
    hidden = [*(_images([key], 0) for key in last + each), *(_bar(name) for name in study.logged)]
    ungrouped = {"searchFilter": study.shown, "useGroupedValuesInCharts": False, "runListHidden": True}
    return _page(study, sections, hidden) | ungrouped | {"orderByAsc": False}  # image grids reverse the order


def _grouped(study: Study, sections: Sequence[Section]) -> dict[str, Any]:
    """Charts show the mean of each strategy; the list of runs shows the strategies, with their runs collapsed."""
    shown = {card["metricKey"] for section in sections for card in section.cards}
    state = _page(study, sections, [_bar(name) for name in study.logged if name not in shown])
    return state | {"groupsExpanded": {f"tag.{study.tag}.{label}": False for label in study.labels}}


def _page(study: Study, sections: Sequence[Section], hidden: Sequence[Card]) -> dict[str, Any]:
    """The state of the page: the list of runs with its columns, and the charts."""
    cards = [card | {"metricSectionId": section.title} for section in sections for card in section.cards]
    cards += [card | {"deleted": True} for card in hidden]
    return {
        "searchFilter": study.runs,
        "orderByKey": f"tags.`{study.tag}`",
        "orderByAsc": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": study.tag}]},
        "useGroupedValuesInCharts": True,
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "selectedColumns": study.columns,
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
    """A curve over the stages: the mean of a strategy's runs; the range from minimum to maximum is shaded."""
    axes = {"xAxisKey": "step", "useGlobalXaxisKey": False, "xAxisScaleType": "linear", "scaleType": "linear"}
    curve = {"type": "LINE", "metricKey": metric, "displayPoints": True, "runsCountToCompare": 50}
    return curve | axes | {"range": dict(span)}


def _images(keys: Sequence[str], step: int) -> Card:
    return {"type": "IMAGE", "imageKeys": list(keys), "step": step, "showRunParams": False}
