"""Runs put together: by strategy and order for means over seeds, by strategy for means over orders and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.analysis.quantities import Quantity, value
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import RunResult


@dataclass(frozen=True)
class Group:
    """Runs of one label, which is the strategy's name unless they were given another; `rewards` is their order, empty
    when orders are pooled. Tables and docstrings call a label a strategy."""

    label: str
    rewards: tuple[str, ...]
    runs: tuple[RunResult, ...]

    def spread(self, quantity: Quantity, column: str) -> Spread:
        """Over the runs."""
        return Spread.of([value(run, quantity, column) for run in self.runs])


def by_order(runs: Sequence[RunResult]) -> list[Group]:
    """A group for each strategy and order, in the order the runs are in."""
    keys = dict.fromkeys((run.label, run.rewards) for run in runs)
    return [Group(*key, tuple(run for run in runs if (run.label, run.rewards) == key)) for key in keys]


def by_strategy(runs: Sequence[RunResult]) -> list[Group]:
    """A group for each strategy. Runs that are the same model, as joint's and soup's are in any order, count once."""
    groups: dict[str, dict[frozenset[str], RunResult]] = {}
    for run in runs:
        groups.setdefault(run.label, {}).setdefault(model_of(run), run)
    return [Group(label, (), tuple(found.values())) for label, found in groups.items()]


def model_of(run: RunResult) -> frozenset[str]:
    """The same for two runs of a strategy that trained the same stages, in whatever order they are listed or merged.

    A stage's identity names all that it was trained on, so stages on top of each other differ when their order does.
    """
    trained = (f"{row.stage_id} {row.evaluation}" for row in run.matrix.rows if row.rewards and row.stage_id)
    return frozenset(trained) or frozenset({run.name})


def best(groups: Sequence[Group], quantity: Quantity, column: str, higher_is_better: bool) -> set[str]:
    """The strategies with the best mean, several when they tie; none when fewer than two have a mean."""
    means = {group.label: group.spread(quantity, column).mean for group in groups}
    known = [mean for mean in means.values() if not math.isnan(mean)]
    if len(known) < 2:
        return set()
    top = max(known) if higher_is_better else min(known)
    return {name for name, mean in means.items() if mean == top}
