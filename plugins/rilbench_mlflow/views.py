"""What the three comparison views of a study show: the values at the end, the forgetting, the pictures.

A view is the state of MLflow's page of runs: which runs it lists, how it groups them, and its charts in sections.
Names and values are those of the UI of MLflow 3.17.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rilbench.result import MetricInfo
from rilbench_mlflow.labels import LABEL
from rilbench_mlflow.pictures import AFTER_EACH, AFTER_LAST
from rilbench_mlflow.points import clean

Card = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the views need to know: how to find the runs, and what is logged of them.

    `runs` and `shown` are filters of MLflow's search: all runs, and those whose pictures are put side by side.
    `logged` are the names of all metrics, `pictures` of all pictures, `steps` the number of the last stage.
    """

    runs: str
    shown: str
    metrics: Sequence[MetricInfo]
    logged: Iterable[str]
    pictures: Sequence[str]
    steps: int


def views(study: Study) -> dict[str, dict[str, Any]]:
    """Name to state of the page."""
    return {"final": _final(study), "forgetting": _forgetting(study), "pictures": _pictures(study)}


def _final(study: Study) -> dict[str, Any]:
    bars = [_bar(f"final/{clean(info.name)}") for info in study.metrics]
    average = [_bar("summary/average")]
    return _grouped(study, {"Mean gain over the rewards": average, "After the last stage": bars})


def _forgetting(study: Study) -> dict[str, Any]:
    names = [clean(info.name) for info in study.metrics]
    return _grouped(
        study,
        {
            "Forgetting at the end": [_bar(f"final_forgetting/{name}") for name in names],
            "Value after each stage": [_line(f"eval/{name}") for name in names],
            "Forgetting after each stage": [_line(f"forgetting/{name}") for name in names],
        },
    )


def _pictures(study: Study) -> dict[str, Any]:
    """MLflow shows no pictures of groups: here every run is itself, under its strategy's name in the list."""
    last = [key for key in study.pictures if key.startswith(AFTER_LAST)]
    each = [key for key in study.pictures if key.startswith(AFTER_EACH)]
    sections = {"After the last stage": [_images(last, 0)], "After each stage": [_images(each, study.steps)]}
    # the UI adds a chart for every picture and metric that has none: a deleted one keeps it from doing so
    hidden = [*(_images([key], 0) for key in study.pictures), *(_bar(name) for name in study.logged)]
    return _page(study.shown, sections, hidden) | {"useGroupedValuesInCharts": False, "orderByAsc": False}


def _grouped(study: Study, sections: Mapping[str, list[Card]]) -> dict[str, Any]:
    shown = {card["metricKey"] for cards in sections.values() for card in cards}
    return _page(study.runs, sections, [_bar(name) for name in study.logged if name not in shown])


def _page(runs: str, sections: Mapping[str, list[Card]], hidden: list[Card]) -> dict[str, Any]:
    cards = [card | {"metricSectionId": title} for title, cards in sections.items() for card in cards]
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
        "compareRunSections": [{"uuid": title, "name": title, "display": True} for title in sections],
        "compareRunCharts": [card | {"uuid": str(i)} for i, card in enumerate(cards)],
    }


def _bar(metric: str) -> Card:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 50}


def _line(metric: str) -> Card:
    """A curve over the stages: the mean of a strategy's runs, their range shaded."""
    shape = {"xAxisKey": "step", "useGlobalXaxisKey": False, "xAxisScaleType": "linear", "scaleType": "linear"}
    return {"type": "LINE", "metricKey": metric, "displayPoints": True, "runsCountToCompare": 50, "range": {}} | shape


def _images(keys: Sequence[str], step: int) -> Card:
    return {"type": "IMAGE", "imageKeys": list(keys), "step": step, "showRunParams": True}
