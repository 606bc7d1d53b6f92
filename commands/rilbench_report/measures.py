"""The numbers of a run that the report averages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from rilbench.contracts.result import RunResult
from rilbench_report.runs import Run

Measured = Run | RunResult
Measure = Callable[[Measured], float]


def mean(values: Sequence[float]) -> float:
    """The mean of what is known; NaN when nothing is."""
    known = [v for v in values if not math.isnan(v)]
    return statistics.fmean(known) if known else math.nan


def value(run: Measured, metric: str, stage: int = -1) -> float:
    """A metric after a stage; NaN where not measured."""
    return run.matrix.values(metric)[stage]


def change(run: Measured, metric: str) -> float:
    """From base to the last stage."""
    return value(run, metric) - value(run, metric, 0)


def forgetting(run: Measured, metric: str) -> float:
    """F of Eq. 3 at the end; NaN where a table masks it, or the run has no such metric."""
    last = len(run.matrix.rows) - 1
    known = any(info.name == metric for info in run.matrix.metrics)
    return run.matrix.forgetting(metric) if known and not run.matrix.masked(metric, last) else math.nan


def relative(run: Measured, metric: str, amount: float) -> float:
    """An amount as a share of the metric's base value; NaN when that is 0."""
    base = abs(value(run, metric, 0))
    return amount / base if base else math.nan


def average(run: Measured) -> float:
    """Mean relative change of the trained rewards, base to last stage."""
    return run.matrix.average()


def learned(run: Measured) -> float:
    """Mean relative gain of each trained reward in the stage that trained it; of a merge, what the merged model has."""
    if is_merge(run):
        return average(run)
    return mean([relative(run, name, run.matrix.learned(name)) for name in run.matrix.trained_rewards()])


def forgotten(run: Measured) -> float:
    """Mean relative forgetting of the trained rewards whose forgetting is not masked; NaN when there is none."""
    return mean([relative(run, name, forgetting(run, name)) for name in run.matrix.trained_rewards()])


def is_merge(run: Measured) -> bool:
    """Whether the final model is made of models that were trained before: a stage without rewards."""
    return any(not row.rewards for row in run.matrix.rows[1:])


def is_sequence(run: Measured) -> bool:
    """Whether one stage was trained after another, so that something can be forgotten."""
    return len(run.matrix.rows) > 2 and not is_merge(run)
