"""What can be compared: one number of a run for every metric, for every reward, or one in all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from rilbench.analysis.recorded import settings
from rilbench.contracts.result import MetricInfo, ResultMatrix, RunResult


class Quantity(StrEnum):
    """a^0 is the base model's value, a^T the final one, a^t the one after the stage that last trained the reward.

    All but FINAL and FORGETTING are differences in the direction of the metric: positive is better.
    """

    FINAL = "final"  # a^T of a metric
    FORGETTING = "forgetting"  # F of a metric, Eq. 3 of the paper, where tables do not mask it; never negative
    AVERAGE = "average"  # mean over the trained rewards of (a^T - a^0) / |a^0|
    BACKWARD = "backward"  # a^T - a^t of a reward, not for one trained last
    FORWARD = "forward"  # a^(f-1) - a^0 of a reward, f the stage that first trained it; not for f = 1, nor for merges
    LEARNED = "learned"  # a^t - a^0 of a reward
    PLASTICITY = "plasticity"  # a^t - a^(t-1) of a reward: what that stage added; not for merges


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


def metrics_of(runs: Sequence[RunResult]) -> list[MetricInfo]:
    """The metrics of any run, in the order of the first configuration that is known.

    Those it does not name, as rewards that are measured anyway, stand first, as in the first run.
    """
    infos = {info.name: info for run in runs for info in run.matrix.shown}
    configured = (settings(run).get("evaluate.metrics") for run in runs)
    order = next((names for names in configured if isinstance(names, list)), [])
    return sorted(infos.values(), key=lambda info: order.index(info.name) if info.name in order else -1)


def columns(infos: Sequence[MetricInfo], runs: Sequence[RunResult], quantity: Quantity) -> list[MetricInfo]:
    """Those of the metrics of runs a quantity is about, with the direction in which the quantity is better."""
    if quantity is Quantity.AVERAGE:
        return [MetricInfo(name="average", higher_is_better=True)]
    if quantity is Quantity.FINAL:
        return list(infos)
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
    """Whether a reward has no such quantity: it was never trained, nothing was before its first or after its last
    stage, or the run is a merge, whose stages need not stand on each other."""
    stage, rows = run.matrix.stage_of(reward), run.matrix.rows
    nothing_before = quantity is Quantity.FORWARD and stage > 0 and reward in rows[1].rewards
    nothing_after = quantity is Quantity.BACKWARD and stage == len(rows) - 1
    merged = quantity in (Quantity.FORWARD, Quantity.PLASTICITY) and any(not row.rewards for row in rows[1:])
    return stage == 0 or nothing_before or nothing_after or merged
