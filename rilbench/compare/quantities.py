"""What can be compared: one number of a run for every metric, for every reward, or one in all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from rilbench.result import MetricInfo, ResultMatrix, RunResult


class Quantity(StrEnum):
    """a^0 is the base model's value, a^T the final one, a^t the one after the stage that trained the reward.

    All but FINAL and FORGETTING are differences in the direction of the metric: positive is better.
    """

    FINAL = "final"  # a^T of a metric
    FORGETTING = "forgetting"  # F of a metric, Eq. 3 of the paper, where tables do not mask it; never negative
    AVERAGE = "average"  # mean over the trained rewards of (a^T - a^0) / |a^0|
    BACKWARD = "backward"  # a^T - a^t of a reward, not for one trained last
    FORWARD = "forward"  # a^(t-1) - a^0 of a reward, not for one trained first
    LEARNED = "learned"  # a^t - a^0 of a reward: forward + plasticity
    PLASTICITY = "plasticity"  # a^t - a^(t-1) of a reward: what its own stage added


TITLES = {
    Quantity.FINAL: "Final value",
    Quantity.FORGETTING: "Forgetting F (Eq. 3)",
    Quantity.AVERAGE: "Relative gain over the base, mean over the trained rewards",
    Quantity.BACKWARD: "Backward transfer: gain of a reward from the stage that trained it to the last",
    Quantity.FORWARD: "Forward transfer: gain of a reward from the base to the stage before its own",
    Quantity.LEARNED: "Learned: gain of a reward from the base to the stage that trained it",
    Quantity.PLASTICITY: "Plasticity: gain of a reward in the stage that trained it",
}
OF_REWARDS = {
    Quantity.BACKWARD: ResultMatrix.backward_transfer,
    Quantity.FORWARD: ResultMatrix.forward_transfer,
    Quantity.LEARNED: ResultMatrix.learned,
    Quantity.PLASTICITY: ResultMatrix.plasticity,
}


def columns(runs: Sequence[RunResult], quantity: Quantity) -> list[MetricInfo]:
    """The metrics of any run a quantity is about, with the direction in which the quantity is better."""
    if quantity is Quantity.AVERAGE:
        return [MetricInfo(name="average", higher_is_better=True)]
    infos = list({info.name: info for run in runs for info in run.matrix.metrics}.values())
    if quantity is Quantity.FINAL:
        return infos
    if quantity is Quantity.FORGETTING:
        return [replace(info, higher_is_better=False) for info in infos]
    trained = {name for run in runs for name in run.matrix.trained_rewards()}
    return [replace(info, higher_is_better=True) for info in infos if info.name in trained]


def value(run: RunResult, quantity: Quantity, column: str) -> float:
    """The quantity of a run in a column; NaN where the run did not measure or train it, or a table masks it."""
    matrix, last = run.matrix, len(run.matrix.rows) - 1
    if quantity is Quantity.AVERAGE:
        return matrix.average()
    if all(info.name != column for info in matrix.metrics):
        return math.nan
    if quantity is Quantity.FINAL:
        return matrix.values(column)[-1]
    if quantity is Quantity.FORGETTING:
        return math.nan if matrix.masked(column, last) else matrix.forgetting(column)
    if _without(run, quantity, column):
        return math.nan
    return OF_REWARDS[quantity](matrix, column)


def _without(run: RunResult, quantity: Quantity, reward: str) -> bool:
    """Whether a quantity of a reward is 0 by definition, or has none: before the first stage, after the last one."""
    stage, last = run.matrix.stage_of(reward), len(run.matrix.rows) - 1
    trivial = {Quantity.BACKWARD: last, Quantity.FORWARD: 1}
    return stage == 0 or stage == trivial.get(quantity)
