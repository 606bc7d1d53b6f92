"""The published numbers. Model, prompts and reward scales differ: compare directions, not levels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.quantities import Quantity
from rilbench.contracts.result import MetricInfo
from rilbench_compare.formats import Cell

PUBLISHED = {Quantity.FINAL: "values", Quantity.FORGETTING: "forgetting"}

Row = dict[str, Any]  # strategy, rewards, values; forgetting, where it is published: null where the paper masks it


@cache
def document() -> dict[str, Any]:
    """`paper.json`: source, model, decimals printed by metric, and the tables."""
    return dict(json.loads((files("rilbench_compare") / "paper.json").read_text(encoding="utf-8")))


def rows(comparison: Comparison) -> dict[str, list[Row]]:
    """The published base, `orders` of our strategies, and `means` of our strategies that were run on the paper's
    rewards only."""
    paper = document()
    by_order = {(row["strategy"], tuple(row["rewards"])): row for row in paper["orders"]}
    ours = dict.fromkeys((run.label, run.rewards) for run in comparison.runs)
    rewards = set(paper["orders"][0]["rewards"])
    whole = [name for name in comparison.labels if all(set(run.rewards) == rewards for run in comparison.of(name))]
    return {
        "base": [{"strategy": "base", "rewards": [], "values": paper["base"]}],
        "orders": [by_order[key] for key in ours if key in by_order],
        "means": [
            {"strategy": name, "rewards": [], "values": paper["means"][name]}
            for name in whole
            if name in paper["means"]
        ],
    }


def cells(rows: Sequence[Row], infos: Sequence[MetricInfo], quantity: Quantity) -> list[list[Cell]]:
    """Published rows for a table, with a separator above the first."""
    names = [[f"{row['strategy']} (paper)", " > ".join(row["rewards"]), ""] for row in rows]
    found = [[_cell(row, info.name, quantity) for info in infos] for row in rows]
    return [[], *([*map(Cell, own), *values] for own, values in zip(names, found, strict=True))]


def _cell(row: Row, metric: str, quantity: Quantity) -> Cell:
    values, lost = row.get(PUBLISHED[quantity], {}), row.get("forgetting", {})
    if metric not in values:
        return Cell("")
    note = f"({_text(metric, lost[metric])})" if quantity is Quantity.FINAL and lost else ""
    return Cell(_text(metric, values[metric]), note)


def _text(metric: str, value: float | None) -> str:
    """A published number with the decimals of its table."""
    return "-" if value is None else f"{value:.{document()['decimals'][metric]}f}"
