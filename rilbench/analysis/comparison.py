"""A comparison of finished runs: what every method reaches, and whether methods differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rilbench.analysis import methods
from rilbench.analysis.methods import Settings, settings_of
from rilbench.analysis.quantities import AVERAGES, Quantity, columns, metrics_of, trained
from rilbench.analysis.units import REFERENCE as BASELINE
from rilbench.analysis.units import SD, UNITS, Units
from rilbench.contracts.errors import UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from rilbench.contracts.result import MetricInfo, RunResult

Warn = Callable[[str], None]
Row = Mapping[str, Any]
KEYS = ("label", "quantity", "metric", "order")
REFERENCE = "rid"
ONE = 1.0  # unit
TEST = ("quantity", "label", "metric")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs compared; `against` is the method the others are tested against, labels are the methods in their order.

    quantities: an average over rewards comes after its quantity of single rewards. bases: of each run the number of its
    base model (`methods.base_models`). units: of the averages. table: `quantity_table` of the quantities. orders:
    `means` by method and order. means: by method, with `comparable`: a mean over the same orders and seeds, and on the
    same base model, as that of `against`; `best`: the best of these, where there are two with two seeds each; `rank`:
    among these, 1 is the best, equal means share the mean of their ranks; of an average: the mean of the ranks in
    single rewards. differences: the paired tests of all methods on the base model of `against`.
    """

    runs: list[RunResult]
    settings: Settings
    quantities: tuple[Quantity, ...]
    metrics: list[MetricInfo]
    labels: list[str]
    against: str
    bases: dict[str, int]
    units: Units
    table: pd.DataFrame
    orders: pd.DataFrame
    means: pd.DataFrame
    differences: pd.DataFrame

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], Row]:
        tables = (self.means.assign(order=""), self.orders)
        return {tuple(row[key] for key in KEYS): row for table in tables for row in table.to_dict("records")}

    def row(self, label: str, quantity: Quantity, metric: str, order: str = "") -> Row:
        """The row of `means`, or of `orders`."""
        return self._rows[label, quantity, metric, order]

    @cached_property
    def _tests(self) -> dict[str, dict[tuple[str, str], Row]]:
        found: dict[str, dict[tuple[str, str], Row]] = {quantity: {} for quantity in self.quantities}
        for row in self.differences.to_dict("records"):
            found[row["quantity"]][row["label"], row["metric"]] = row
        return found

    def tests(self, quantity: Quantity) -> dict[tuple[str, str], Row]:
        """The rows of `differences` by method and metric."""
        return self._tests[quantity]

    def seeds_of(self, label: str, order: str = "") -> int:
        """How many seeds a method has, or has of an order: the number of its observations."""
        return len({run.seed for run in self.of(label) if order in ("", run.order)})

    def columns(self, quantity: Quantity) -> list[MetricInfo]:
        """The columns of a quantity; of an average, the units that every reward has."""
        return columns(self.metrics, self.runs, quantity, self.units.shown(self.runs))

    @cached_property
    def rewards(self) -> list[str]:
        """The rewards that any run trained, in the order of the metrics."""
        names = trained(self.runs)
        return [info.name for info in self.metrics if info.name in names]

    def like(self, metric: str) -> float:
        """A number with the decimals of a column: the base model's value, or one unit."""
        return ONE if metric in UNITS else self.base(metric)

    def unit_name(self, unit: str) -> str:
        """What a unit is, in words."""
        return (
            "standard deviations between the base model's prompts"
            if unit == SD
            else f"single gains of {self.units.reference}"
        )

    def of(self, label: str) -> list[RunResult]:
        return [run for run in self.runs if run.label == label]

    def base_of(self, label: str) -> int:
        """The number of a method's base model."""
        return self.bases[self.of(label)[0].name]

    def base(self, metric: str, number: int = 0) -> float:
        """The value of an untouched model, the usual one by default, in the first run that measured it."""
        runs = [run for run in self.runs if self.bases[run.name] == number] or self.runs
        values = (run.matrix.rows[0].values[metric] for run in runs if metric in run.matrix.rows[0].values)
        return next((value for value in values if value == value), float("nan"))


def compare(
    runs: Sequence[RunResult],
    *,
    quantities: Sequence[Quantity] = (Quantity.FINAL, Quantity.FORGETTING),
    against: str | None = None,
    strategies: Sequence[str] | None = None,
    rewards: Sequence[str] | None = None,
    single_gain_of: str | None = None,
    warn: Warn,
) -> Comparison:
    """Compare finished runs.

    against: default: rid, or the first method when there is no rid. strategies: compare these only, in this order;
    default: all, by name. rewards: compare runs of this order only. single_gain_of: the method whose first stages are
    the unit `single gain`, also if it is not compared; default: baseline, or `against` when there is no baseline.

    Runs of a strategy with the same order and seed, or on several base models, are told apart by the settings in which
    they differ; a strategy then means all of its labels. Raises UsageError for a strategy without runs.
    """
    from rilbench.analysis.scores import prompt_means
    from rilbench.analysis.statistics import differences, means
    from rilbench.analysis.table import quantity_table

    settings = settings_of(runs)
    named = methods.told_apart(runs, settings)
    chosen, labels, reference = _choice(runs, named, strategies, rewards, against)
    quantities = tuple(dict.fromkeys(each for q in quantities for each in (*_single(q), q)))
    infos = metrics_of(chosen, settings)
    chosen = sorted(
        (run for run in chosen if run.label in labels), key=lambda r: (labels.index(r.label), r.rewards, r.seed)
    )
    methods.check(chosen, settings, warn)
    bases = methods.base_models(chosen)
    whose = _labels(single_gain_of or BASELINE, runs, named)[0]
    if single_gain_of and whose not in {run.label for run in named}:
        raise UsageError(unknown("strategy among the runs", single_gain_of, {run.label for run in named}))
    units = Units.of(named, reference=(whose, reference), seeds={run.seed for run in chosen})
    table = quantity_table(chosen, quantities, metrics=infos, units=units)
    own = {bases[run.name] for run in chosen if run.label == reference}
    masked = table["merge"] & (table["quantity"] == Quantity.AVERAGE_FORGOTTEN)  # a merge leaves out no reward
    alike = table[table["run"].isin([run.name for run in chosen if bases[run.name] in own]) & ~masked]
    scores = {run.name: prompt_means(run) for run in chosen} if Quantity.FINAL in quantities else None
    comparison = Comparison(
        runs=chosen,
        settings=settings,
        quantities=quantities,
        metrics=infos,
        labels=labels,
        against=reference,
        bases=bases,
        units=units,
        table=table,
        orders=means(table, ("label", "order")),
        means=means(table),
        differences=differences(alike, reference, scores=scores),
    )
    return replace(comparison, means=_ranked(comparison, alike))


def _choice(
    before: Sequence[RunResult],
    runs: Sequence[RunResult],
    strategies: Sequence[str] | None,
    rewards: Sequence[str] | None,
    against: str | None,
) -> tuple[list[RunResult], list[str], str]:
    """The runs of the rewards, the labels to compare in their order, and the one to compare against.

    before: the runs before those of one label were told apart. Raises UsageError for what has no run.
    """
    known = {name: _labels(name, before, runs) for name in (*(strategies or ()), against or REFERENCE)}
    chosen = [run for run in runs if rewards is None or run.rewards == tuple(rewards)]
    if not chosen:
        orders = ", ".join(sorted({run.order for run in runs}))
        raise UsageError(f"no run of the rewards {' > '.join(rewards or ())}; there are {orders}")
    have = {run.label for run in chosen}
    for name in [*(strategies or ()), *([against] if against else ())]:
        if not have & set(known[name]):
            raise UsageError(unknown("strategy among the runs", name, have))
    labels = [label for name in strategies for label in known[name] if label in have] if strategies else sorted(have)
    usual = [label for label in known[against or REFERENCE] if label in labels]
    if against and not usual:
        raise UsageError(f"{against!r} to compare against is not one of --strategies {','.join(labels)}; add it there")
    reference = usual[0] if usual else labels[0]
    return chosen, labels, reference


def _single(quantity: Quantity) -> tuple[Quantity, ...]:
    """The quantity of single rewards that an average is shown with."""
    return (AVERAGES[quantity],) if quantity in AVERAGES else ()


def _ranked(comparison: Comparison, alike: pd.DataFrame) -> pd.DataFrame:
    """The means, and which are comparable and best, with their ranks."""
    found = comparison.means.copy()
    cases: dict[tuple[str, ...], set[tuple[str, int]]] = {}
    for *test, order, seed in alike.loc[alike["value"].notna(), [*TEST, "order", "seed"]].itertuples(index=False):
        cases.setdefault(tuple(test), set()).add((order, seed))
    found["comparable"] = [
        cases.get((quantity, label, metric)) == cases.get((quantity, comparison.against, metric))
        for quantity, label, metric in zip(*(found[name] for name in TEST), strict=True)
    ]
    found = found.assign(best=False, rank=float("nan"))
    for quantity in comparison.quantities:
        for info in comparison.columns(quantity):
            own = (found["quantity"] == quantity) & (found["metric"] == info.name) & found["comparable"]
            means = found.loc[own, "mean"]
            if means.count() > 1:
                found.loc[means.index, "rank"] = means.rank(ascending=not info.higher_is_better)
            several = len({seed for _, seed in cases.get((quantity, comparison.against, info.name), ())}) > 1
            if several and means.count() > 1:
                found.loc[means.index, "best"] = means == (means.max() if info.higher_is_better else means.min())
    for quantity in (q for q in comparison.quantities if q in AVERAGES and comparison.columns(q)):
        own = found["quantity"] == quantity
        found.loc[own, "rank"] = (
            found.loc[own, "label"].astype(str).map(_mean_ranks(found, quantity, comparison.rewards))
        )
    return found


def _mean_ranks(means: pd.DataFrame, quantity: Quantity, rewards: Sequence[str]) -> pd.Series:
    """The mean over rewards of the ranks of the methods that are comparable in an average and in each reward.

    A reward that none of them has, as the forgetting of one that all trained last, is left out.
    """
    labels = set(means.loc[(means["quantity"] == quantity) & means["comparable"], "label"])
    own = means[(means["quantity"] == AVERAGES[quantity]) & means["metric"].isin(rewards) & means["label"].isin(labels)]
    wide = own.assign(mean=own["mean"].where(own["comparable"])).astype({"label": str, "metric": str})
    wide = wide.pivot(index="label", columns="metric", values="mean").dropna(axis=1, how="all").dropna()
    ranks = wide.rank(ascending=quantity is Quantity.AVERAGE_FORGOTTEN).mean(axis=1)
    return ranks if len(wide) > 1 else ranks * float("nan")


def _labels(name: str, before: Sequence[RunResult], runs: Sequence[RunResult]) -> list[str]:
    """What the runs of a strategy are called now; the name itself when there are none."""
    found = sorted({now.label for then, now in zip(before, runs, strict=True) if name in (then.label, now.label)})
    return found or [name]
