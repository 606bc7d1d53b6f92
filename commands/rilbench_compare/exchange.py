"""The exchange rates of a comparison as tables and as data."""

from __future__ import annotations

import math
from typing import Any

from rilbench.analysis.comparison import Comparison, Row
from rilbench.analysis.exchange import RAW, exchange_rates
from rilbench.analysis.statistics import Spread
from rilbench.analysis.units import SD
from rilbench.store.tables import named
from rilbench_compare.formats import Cell, Sheet

TITLES = {RAW: "in each metric's own scale", SD: "in SD between the base model's prompts"}
CAPTION = (
    "The change of a metric by a first stage that trained one reward, from the base model; positive is better. ± is "
    "half the 95 % interval of the mean (Student's t) over seeds; a model that several strategies share is in one row. "
    "Forgetting (Eq. 3) cannot tell a conflict between rewards from forgetting: where a stage on one reward lowers "
    "another that was never trained, a sequence of the two loses as much without forgetting anything."
)


def sheets(comparison: Comparison) -> list[Sheet]:
    """A table in the metrics' own scales, and one in SD if the base model's spread over prompts is known."""
    rates = [row for row in records(comparison) if not math.isnan(row["mean"])]
    scales = dict.fromkeys(row["scale"] for row in rates)
    return [_sheet(comparison, scale, [row for row in rates if row["scale"] == scale]) for scale in scales]


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """A record for every method, trained reward, scale and metric."""
    rates = exchange_rates(comparison.runs, comparison.units)
    return [{str(key): value for key, value in row.items()} for row in rates.to_dict("records")]


def _sheet(comparison: Comparison, scale: str, rates: list[Row]) -> Sheet:
    found = {(row["label"], row["reward"], row["metric"]): row for row in rates}
    infos = [info for info in comparison.metrics if any(info.name == metric for *_, metric in found)]
    rows = []
    for label, reward in dict.fromkeys((label, reward) for label, reward, _ in found):
        own = {info.name: found.get((label, reward, info.name)) for info in infos}
        cells = [Cell(_text(row, comparison.base(name) if scale == RAW else 1.0)) for name, row in own.items()]
        seeds = max(int(row["n"]) for row in own.values() if row)
        rows.append([Cell(label), Cell(reward), Cell(str(seeds)), *cells])
    head = ["strategy", "trained", "seeds", *(named(info) if scale == RAW else info.name for info in infos)]
    title = f"Effect of one stage of every reward on every metric, {TITLES[scale]}"
    return Sheet(title, head, rows, names=3, caption=CAPTION)


def _text(row: Row | None, like: float) -> str:
    return Spread.read(row).text(like, signed=True) if row else "-"
