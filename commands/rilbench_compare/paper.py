"""The published numbers: another model, other prompts and other reward scales, so for directions and not for levels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from rilbench.analysis.groups import Group
from rilbench.analysis.quantities import Quantity

PUBLISHED = {Quantity.FINAL: "values", Quantity.FORGETTING: "forgetting"}


@dataclass(frozen=True)
class Line:
    """A published row: an order of a strategy, a mean over the six orders (`rewards` is empty), or the base model."""

    label: str
    rewards: tuple[str, ...]
    final: dict[str, float]
    forgetting: dict[str, float | None]  # None where the paper masks it; empty where it gives none


@cache
def document() -> dict[str, Any]:
    """`paper.json`: source, model, decimals printed by metric, and the tables."""
    return dict(json.loads((files("rilbench_compare") / "paper.json").read_text(encoding="utf-8")))


def base() -> Line:
    return Line("base", (), document()["base"], {})


def beside_orders(groups: list[Group]) -> list[Line]:
    """The published rows of our strategies and orders."""
    rows = {(row["strategy"], tuple(row["rewards"])): row for row in document()["orders"]}
    keys = [key for group in groups if (key := (group.label, group.rewards)) in rows]
    return [Line(*key, rows[key]["values"], rows[key]["forgetting"]) for key in keys]


def beside_means(groups: list[Group]) -> list[Line]:
    """The published means of our strategies that were run on the paper's rewards only, in any order."""
    rewards = set(document()["orders"][0]["rewards"])
    ours = [group.label for group in groups if all(set(run.rewards) == rewards for run in group.runs)]
    means = document()["means"]
    return [Line(name, (), means[name], {}) for name in ours if name in means]


def text(metric: str, value: float | None) -> str:
    """A published number with the decimals of its table."""
    return "-" if value is None else f"{value:.{document()['decimals'][metric]}f}"
