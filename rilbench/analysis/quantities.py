"""The quantities that are compared, each defined once: a number of a run for every metric, every reward, or in all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from statistics import fmean

from rilbench.analysis.methods import Settings
from rilbench.analysis.units import UNITS, Units
from rilbench.contracts.result import MetricInfo, ResultMatrix, RunResult


class Quantity(StrEnum):
    """a^0 is the base model's value, a^T the final one, a^t the one after the stage that last trained the reward.

    All but FINAL, FORGETTING and AVERAGE_FORGOTTEN are differences in the direction of the metric: positive is better.
    The averages are means over the trained rewards, in a unit (`units.UNITS`) that is their column.
    """

    FINAL = "final"  # a^T of a metric
    FORGETTING = "forgetting"  # F of a metric, Eq. 3 of the paper, where tables do not mask it; never negative
    LEFT = "left"  # a^T - a^0 of a reward
    LEARNED = "learned"  # a^t - a^0 of a reward
    BACKWARD = "backward"  # a^T - a^t of a reward, not for one trained last
    FORWARD = "forward"  # a^(f-1) - a^0 of a reward, f the stage that first trained it; not for f = 1, nor for merges
    PLASTICITY = "plasticity"  # a^t - a^(t-1) of a reward: what that stage added; not for merges
    AVERAGE = "average"  # of LEFT
    AVERAGE_LEARNED = "average_learned"  # of LEARNED
    AVERAGE_FORGOTTEN = "average_forgotten"  # of FORGETTING, over the rewards whose F is not masked


TITLES = {
    Quantity.FINAL: "Final value",
    Quantity.FORGETTING: "Forgetting F (Eq. 3)",
    Quantity.AVERAGE: "Left, mean over the trained rewards in units",
    Quantity.AVERAGE_LEARNED: "Learned, mean over the trained rewards in units",
    Quantity.AVERAGE_FORGOTTEN: "Forgetting F, mean over the trained rewards in units",
    Quantity.LEFT: "Left: gain of a reward from the base to the last stage",
    Quantity.LEARNED: "Learned: gain of a reward from the base to the stage that trained it",
    Quantity.BACKWARD: "Backward transfer: gain of a reward from the stage that trained it to the last",
    Quantity.FORWARD: "Forward transfer: gain of a reward from the base to the stage before its own",
    Quantity.PLASTICITY: "Plasticity: gain of a reward in the stage that trained it",
}
AVERAGES = {  # of which quantity of single rewards
    Quantity.AVERAGE: Quantity.LEFT,
    Quantity.AVERAGE_LEARNED: Quantity.LEARNED,
    Quantity.AVERAGE_FORGOTTEN: Quantity.FORGETTING,
}
OF_REWARDS = {
    Quantity.LEFT: ResultMatrix.left,
    Quantity.LEARNED: ResultMatrix.learned,
    Quantity.BACKWARD: ResultMatrix.backward_transfer,
    Quantity.FORWARD: ResultMatrix.forward_transfer,
    Quantity.PLASTICITY: ResultMatrix.plasticity,
}


def metrics_of(runs: Sequence[RunResult], settings: Settings | None = None) -> list[MetricInfo]:
    """The metrics of all runs, in the order of the first recorded configuration.

    Metrics that it does not name, such as rewards, come first, in the order of the first run.
    """
    infos = {info.name: info for run in runs for info in run.matrix.shown}
    configured = ((settings or {}).get(run.name, {}).get("evaluate.metrics") for run in runs)
    order = next((names for names in configured if isinstance(names, list)), [])
    return sorted(infos.values(), key=lambda info: order.index(info.name) if info.name in order else -1)


def trained(runs: Iterable[RunResult]) -> list[str]:
    """The rewards that runs trained, each once."""
    return list(dict.fromkeys(name for run in runs for name in run.matrix.trained_rewards()))


def columns(
    infos: Sequence[MetricInfo], runs: Sequence[RunResult], quantity: Quantity, units: Sequence[str] = UNITS
) -> list[MetricInfo]:
    """The metrics to which a quantity applies, with the direction in which the quantity is better; of an average, the
    units."""
    if quantity in AVERAGES:
        return [MetricInfo(name=unit, higher_is_better=quantity is not Quantity.AVERAGE_FORGOTTEN) for unit in units]
    if quantity is Quantity.FINAL:
        return list(infos)
    if quantity is Quantity.FORGETTING:
        return [replace(info, higher_is_better=False) for info in infos]
    rewards = trained(runs)
    return [replace(info, higher_is_better=True) for info in infos if info.name in rewards]


def average(run: RunResult, quantity: Quantity, units: Units, unit: str) -> float:
    """The mean of one of `AVERAGES` over the rewards that a run trained, in a unit.

    NaN if one of them was not measured or has no such unit. Rewards whose forgetting a table masks are left out.
    """
    rewards = run.matrix.trained_rewards()
    values = [value(run, AVERAGES[quantity], reward) / units.size(run, unit, reward) for reward in rewards]
    if quantity is Quantity.AVERAGE_FORGOTTEN:
        last = len(run.matrix.rows) - 1
        values = [of for of, reward in zip(values, rewards, strict=True) if not run.matrix.masked(reward, last)]
    return fmean(values) if values else math.nan


def value(run: RunResult, quantity: Quantity, column: str, stage: int = -1) -> float:
    """The quantity of a run in a column; NaN where the run did not measure or train it, or a table masks it. `average`
    computes those over rewards.

    stage: the stage after which FINAL and FORGETTING are taken; the others apply to the whole run.
    """
    matrix = run.matrix
    if quantity is Quantity.FINAL:
        return matrix.rows[stage].values.get(column, math.nan)
    if column not in {info.name for info in matrix.metrics}:
        return math.nan
    if quantity is Quantity.FORGETTING:
        after = stage % len(matrix.rows)
        return math.nan if matrix.masked(column, after) else matrix.forgetting(column, after)
    return math.nan if _without(run, quantity, column) else OF_REWARDS[quantity](matrix, column)


def is_merge(run: RunResult) -> bool:
    """Whether the final model is made of models that were trained before: a stage without rewards."""
    return any(not row.rewards for row in run.matrix.rows[1:])


def is_sequence(run: RunResult) -> bool:
    """Whether one stage was trained after another, so that something can be forgotten."""
    return len(run.matrix.rows) > 2 and not is_merge(run)


def _without(run: RunResult, quantity: Quantity, reward: str) -> bool:
    """Whether a reward has no such quantity: it was never trained, nothing was before its first or after its last
    stage, or the run is a merge, whose stages need not follow each other."""
    stage, rows = run.matrix.stage_of(reward), run.matrix.rows
    if quantity is Quantity.LEFT:
        return False  # also of a reward that no stage trained
    nothing_before = quantity is Quantity.FORWARD and stage > 0 and reward in rows[1].rewards
    nothing_after = quantity is Quantity.BACKWARD and stage == len(rows) - 1
    merged = quantity in (Quantity.FORWARD, Quantity.PLASTICITY) and is_merge(run)
    return stage == 0 or nothing_before or nothing_after or merged
