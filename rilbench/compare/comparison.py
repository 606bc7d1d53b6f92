"""A comparison: runs, what is compared, and everything the tables show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rilbench.compare import mixed
from rilbench.compare.differences import Difference, differences
from rilbench.compare.groups import Group, by_order, by_strategy
from rilbench.compare.quantities import Quantity, columns
from rilbench.errors import UsageError, unknown
from rilbench.result import MetricInfo, RunResult

Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """orders: a group for every strategy and order; strategies: for every strategy, orders pooled.

    against: the strategy the others are tested against; differences: these tests, for FINAL only.
    """

    quantity: Quantity
    orders: list[Group]
    strategies: list[Group]
    against: str
    differences: list[Difference] = field(default_factory=list)

    @property
    def runs(self) -> list[RunResult]:
        return [run for group in self.orders for run in group.runs]

    def shown(self) -> list[Quantity]:
        """The quantities of the tables: a final value comes with its forgetting."""
        return [Quantity.FINAL, Quantity.FORGETTING] if self.quantity is Quantity.FINAL else [self.quantity]

    def columns(self, quantity: Quantity | None = None) -> list[MetricInfo]:
        """Of a quantity, by default the one compared."""
        return columns(self.runs, quantity or self.quantity)

    def base(self, metric: str) -> float:
        """The untouched model's value in the first run that measured it; a model measured alone counts last."""
        runs = sorted(self.runs, key=lambda run: len(run.matrix.rows) == 1)
        values = (run.matrix.rows[0].values.get(metric, math.nan) for run in runs)
        return next((value for value in values if not math.isnan(value)), math.nan)

    def same_runs(self) -> bool:
        """Whether every strategy has the same orders and seeds."""
        labels = {run.label for run in self.runs}
        have = [{(run.rewards, run.seed) for run in self.runs if run.label == label} for label in labels]
        return all(each == have[0] for each in have)


def compare(
    runs: Sequence[RunResult],
    *,
    quantity: Quantity = Quantity.FINAL,
    against: str | None = None,
    strategies: Sequence[str] | None = None,
    rewards: Sequence[str] | None = None,
    warn: Warn,
) -> Comparison:
    """Compare finished runs.

    against: default: rid, or the first strategy when there is no rid. strategies: compare these only, in this order;
    default: all, by name. rewards: compare runs of this order only.

    Raises UsageError for a strategy without runs, and for runs that cannot be told apart.
    """
    names = list(strategies or sorted({run.label for run in runs}))
    chosen = [run for run in runs if rewards is None or run.rewards == tuple(rewards)]
    have = {run.label for run in chosen}
    if not chosen:
        raise UsageError(f"no run of the rewards {' > '.join(rewards or ())}; there are {_orders(runs)}")
    for name in [*(strategies or ()), *([against] if against else ())]:
        if name not in have or name not in names:
            raise UsageError(unknown("strategy among the runs", name, have))
    chosen = sorted((run for run in chosen if run.label in names), key=lambda run: _place(run, names))
    pooled = by_strategy(chosen)
    mixed.check(chosen, warn)
    reference = against or ("rid" if any(group.label == "rid" for group in pooled) else pooled[0].label)
    return Comparison(
        quantity=quantity,
        orders=by_order(chosen),
        strategies=pooled,
        against=reference,
        differences=differences(chosen, reference) if quantity is Quantity.FINAL else [],
    )


def _place(run: RunResult, names: Sequence[str]) -> tuple[int, tuple[str, ...], int]:
    return names.index(run.label), run.rewards, run.seed


def _orders(runs: Sequence[RunResult]) -> str:
    return ", ".join(sorted({" > ".join(run.rewards) for run in runs}))
