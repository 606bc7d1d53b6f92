"""The long tables of finished runs: run x stage x metric, and run x quantity x metric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from rilbench.analysis.quantities import AVERAGES, Quantity, average, columns, is_merge, metrics_of, value
from rilbench.analysis.units import Units

if TYPE_CHECKING:
    from rilbench.contracts.result import MetricInfo, RunResult

ABOUT = ("run", "label", "order", "seed", "model", "merge")  # order: `a > b`; model: the same for equal models
TEXTS = {"run", "label", "order", "model", "strategy", "trained", "metric", "unit", "quantity"}


def long_table(runs: Sequence[RunResult]) -> pd.DataFrame:
    """A row for every run, stage and metric; stage 0 is the untouched base model.

    Columns: those of `ABOUT`, strategy, stage, trained (the stage's label), rewards (how many it trained), metric,
    unit, higher_is_better, value, low and high (the interval over prompts), forgetting (NaN where tables mask it).
    """
    names = (*ABOUT, "strategy", "stage", "trained", "rewards", "metric", "unit", "higher_is_better")
    return _table(_stages(runs), (*names, "value", "low", "high", "forgetting"))


def quantity_table(
    runs: Sequence[RunResult],
    quantities: Sequence[Quantity] = tuple(Quantity),
    *,
    metrics: Sequence[MetricInfo] | None = None,
    names: Sequence[str] = (),
    stage: int = -1,
    units: Units | None = None,
) -> pd.DataFrame:
    """A row for every run, quantity and metric; the metric of an average is its unit.

    metrics: default all of the runs, without those of perturbed images; a quantity uses those it applies to. names:
    these metrics instead, for every quantity but averages. stage: of final values and forgetting, after which stage.
    units: of averages, by default those of the runs.

    Columns: those of `ABOUT`, quantity, metric, base (the value of the untouched model; NaN for averages), value (NaN
    where the quantity has no meaning).
    """
    infos = metrics_of(runs) if metrics is None else metrics
    known = Units.of(runs) if units is None and not AVERAGES.keys().isdisjoint(quantities) else units
    shown = known.shown(runs) if known else []
    of = {
        quantity: (quantity not in AVERAGES and names) or [i.name for i in columns(infos, runs, quantity, shown)]
        for quantity in quantities
    }

    def number(run: RunResult, quantity: Quantity, name: str) -> float:
        if known and quantity in AVERAGES:
            return average(run, quantity, known, name)
        return value(run, quantity, name, stage)

    rows = (
        (*about, quantity.value, name, run.matrix.rows[0].values.get(name, math.nan), number(run, quantity, name))
        for run in runs
        for quantity in quantities
        for about in [_about(run, stage if quantity in (Quantity.FINAL, Quantity.FORGETTING) else -1)]
        for name in of[quantity]
    )
    return _table(rows, (*ABOUT, "quantity", "metric", "base", "value"))


def model_of(run: RunResult, stage: int = -1) -> str:
    """The same for two runs of a method that have the same model after a stage: the same stages trained, in whatever
    order they are listed or merged.

    A stage's identity names all that it was trained on, so stages on top of each other differ when their order does.
    """
    rows = run.matrix.rows
    own = [rows[stage]] if rows[stage].rewards else rows[:stage]  # a merge is made of the models before it
    trained = {f"{row.stage_id} {row.evaluation}" for row in own if row.rewards and row.stage_id}
    return "; ".join(sorted(trained)) or run.name


def _stages(runs: Sequence[RunResult]) -> Iterator[tuple[Any, ...]]:
    for run in runs:
        for stage, row in enumerate(run.matrix.rows):
            about = _about(run, stage)
            for info in run.matrix.metrics:
                measured = (row.values.get(info.name, math.nan), *row.intervals.get(info.name, (math.nan, math.nan)))
                of_stage = (run.strategy, stage, row.label, len(row.rewards))
                forgetting = value(run, Quantity.FORGETTING, info.name, stage)
                yield (*about, *of_stage, info.name, info.unit, info.higher_is_better, *measured, forgetting)


def _about(run: RunResult, stage: int) -> tuple[Any, ...]:
    return run.name, run.label, run.order, run.seed, model_of(run, stage), is_merge(run)


def _table(rows: Iterable[tuple[Any, ...]], names: Sequence[str]) -> pd.DataFrame:
    """Texts are categories: groups keep the order in which names came, and are fast."""
    found = dict(zip(names, zip(*rows, strict=True), strict=True))
    ordered = {
        n: pd.Categorical(found[n], categories=dict.fromkeys(found[n]), ordered=True) for n in names if n in TEXTS
    }
    return pd.DataFrame(found | ordered)
