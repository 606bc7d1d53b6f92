"""A comparison: runs, what is compared, and everything the tables show."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rilbench.analysis import mixed
from rilbench.analysis.apart import told_apart
from rilbench.analysis.differences import Difference, differences
from rilbench.analysis.groups import Group, best, by_order, by_strategy
from rilbench.analysis.quantities import Quantity, columns, metrics_of, value
from rilbench.contracts.errors import UsageError, unknown
from rilbench.contracts.result import MetricInfo, RunResult

Warn = Callable[[str], None]
Case = tuple[tuple[str, ...], int]  # order and seed


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """orders: a group for every strategy and order; strategies: for every strategy, orders pooled.

    metrics: of any run, in the order of the tables; against: the strategy the others are tested against; differences:
    these tests, for every quantity that is shown.
    """

    quantity: Quantity
    metrics: list[MetricInfo]
    orders: list[Group]
    strategies: list[Group]
    against: str
    differences: list[Difference] = field(default_factory=list)

    @property
    def runs(self) -> list[RunResult]:
        return [run for group in self.orders for run in group.runs]

    def shown(self) -> list[Quantity]:
        """The quantities of the tables: a final value comes with its forgetting."""
        return shown(self.quantity)

    def columns(self, quantity: Quantity | None = None) -> list[MetricInfo]:
        """Of a quantity, by default the one compared."""
        return columns(self.metrics, self.runs, quantity or self.quantity)

    def base(self, metric: str) -> float:
        """The untouched model's value in the first run that measured it; a model measured alone counts last."""
        runs = sorted(self.runs, key=lambda run: len(run.matrix.rows) == 1)
        values = (run.matrix.rows[0].values.get(metric, math.nan) for run in runs)
        return next((value for value in values if not math.isnan(value)), math.nan)

    def known(self, label: str, quantity: Quantity, metric: str) -> set[Case]:
        """The orders and seeds in which a strategy has a value."""
        return self._known.get((label, quantity, metric), set())

    @cached_property
    def _known(self) -> dict[tuple[str, Quantity, str], set[Case]]:
        found: dict[tuple[str, Quantity, str], set[Case]] = {}
        columns_of = {quantity: [info.name for info in self.columns(quantity)] for quantity in self.shown()}
        for quantity, run in itertools.product(columns_of, self.runs):
            for metric in columns_of[quantity]:
                if not math.isnan(value(run, quantity, metric)):
                    found.setdefault((run.label, quantity, metric), set()).add((run.rewards, run.seed))
        return found

    def comparable(self, label: str, quantity: Quantity, metric: str) -> bool:
        """Whether a strategy's mean is over the same orders and seeds as that of the strategy compared against."""
        return self.known(label, quantity, metric) == self.known(self.against, quantity, metric)

    def best(self, quantity: Quantity, info: MetricInfo) -> set[str]:
        """The strategies with the best of the means that are comparable; none when fewer than two are."""
        groups = [group for group in self.strategies if self.comparable(group.label, quantity, info.name)]
        return best(groups, quantity, info.name, info.higher_is_better)

    def marking(self, label: str, quantity: Quantity, metric: str) -> Difference | None:
        """The tests whose marks a strategy's mean may carry; None when they are about other runs than its mean."""
        wanted = (label, quantity, metric)
        test = next((d for d in self.differences if (d.label, d.quantity, d.metric) == wanted), None)
        return test if test and self.comparable(*wanted) else None

    def one_order(self) -> bool:
        """Whether all runs have the same order of rewards."""
        return len({group.rewards for group in self.orders}) == 1


def shown(quantity: Quantity) -> list[Quantity]:
    """The quantities that are shown when one is compared."""
    return [Quantity.FINAL, Quantity.FORGETTING] if quantity is Quantity.FINAL else [quantity]


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

    Runs of a strategy with the same order and seed are told apart by the settings in which they differ; a strategy
    then stands for all of its labels. Raises UsageError for a strategy without runs.
    """
    before, runs = runs, told_apart(runs)
    strategies = strategies and [label for name in strategies for label in _labels(name, before, runs)]
    against = _labels(against, before, runs)[0] if against else None
    names = list(strategies or sorted({run.label for run in runs}))
    chosen = [run for run in runs if rewards is None or run.rewards == tuple(rewards)]
    have = {run.label for run in chosen}
    if not chosen:
        raise UsageError(f"no run of the rewards {' > '.join(rewards or ())}; there are {_orders(runs)}")
    for name in [*(strategies or ()), *([against] if against else ())]:
        if name not in have:
            raise UsageError(unknown("strategy among the runs", name, have))
    if against and against not in names:
        raise UsageError(f"{against!r} to compare against is not one of --strategies {','.join(names)}; add it there")
    infos = metrics_of(chosen)
    chosen = sorted((run for run in chosen if run.label in names), key=lambda run: _place(run, names))
    pooled = by_strategy(chosen)
    mixed.check(chosen, warn)
    usual = next((label for label in _labels("rid", before, runs) if label in names), pooled[0].label)
    reference = against or (usual if any(group.label == usual for group in pooled) else pooled[0].label)
    columns_of = {each: [info.name for info in columns(infos, chosen, each)] for each in shown(quantity)}
    return Comparison(
        quantity=quantity,
        metrics=infos,
        orders=by_order(chosen),
        strategies=pooled,
        against=reference,
        differences=differences(chosen, reference, columns_of),
    )


def _labels(name: str, before: Sequence[RunResult], runs: Sequence[RunResult]) -> list[str]:
    """What the runs of a strategy are called now; the name itself when there are none."""
    found = sorted({now.label for then, now in zip(before, runs, strict=True) if name in (then.label, now.label)})
    return found or [name]


def _place(run: RunResult, names: Sequence[str]) -> tuple[int, tuple[str, ...], int]:
    return names.index(run.label), run.rewards, run.seed


def _orders(runs: Sequence[RunResult]) -> str:
    return ", ".join(sorted({" > ".join(run.rewards) for run in runs}))
