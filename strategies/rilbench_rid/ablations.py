"""RID with its ablations as settings, whose defaults are the method itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rilbench import ConfigError, LoraPair, Stage, Step, setting
from rilbench_rid.method import MethodSettings, RewardIncrementalDistillation, placed


@dataclass(frozen=True)
class RIDSettings(MethodSettings):
    """The teacher, and where it is compared with the student."""

    space: Literal["pixel", "latent"] = setting(
        "pixel",
        "where the squared error is taken: on decoded images in [0, 1] (`pixel`) or on z_0 (`latent`)",
    )
    distil: Literal["last", "full"] = setting(
        "last",
        "the teacher starts from the student's z_1 (`last`, Eq. 8) or from z_N on its own (`full`, Eq. 7)",
    )
    reset: bool = setting(
        True, "the teacher restarts as the student at a new stage; false keeps the average over all stages"
    )
    group: bool = setting(True, "one pair per stage (Eq. 4); false: one shared pair for all stages")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reset and not self.group:
            raise ConfigError("reset: false is for a group of pairs; with one shared pair set reset to true")


class RID(RewardIncrementalDistillation):
    """The method; or without a teacher, with full-step or latent distillation, or with one shared pair.

    Or with a teacher that is never reset. It starts a stage at a distance `lag` from the student: the weight changes by
    which it was behind at the end of the previous stage. The student's share of them is frozen, so each update shrinks
    the lag by alpha.
    """

    Settings = RIDSettings
    settings: RIDSettings
    student: LoraPair
    average: LoraPair  # of the student's pair, Eq. 6: the teacher, unless that lags behind
    lag: LoraPair | None
    decay: float  # of the lag: alpha to the number of updates

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        group = self.settings.group
        return [Stage(rewards={name: 1.0}, start="previous" if group else "continue") for name in rewards]

    def loss(self, step: Step) -> Tensor:
        lam, full, latent = self.settings.lam, self.settings.distil == "full", self.settings.space == "latent"
        if lam and not full and not latent:
            return super().loss(step)
        z_0 = step.denoise()
        x_0 = step.decode(z_0)
        loss = step.term("reward", -step.reward(x_0))
        if lam:
            with torch.no_grad():
                z_tea = step.denoise(self.teacher, step.rollout(self.teacher) if full else step.z)  # Eq. 7 or 8
                x_tea = z_tea if latent else step.decode(z_tea)
            loss = loss + step.term("distillation", lam * self.distance(z_0 if latent else x_0, x_tea))
        return loss

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.student, self.average, self.lag, self.decay = pair, self.teacher, None, 1.0

    def after_update(self, step: Step) -> None:
        self.teacher = self.average
        super().after_update(step)
        self.decay *= self.alpha(step)
        self._add_lag()

    def _add_lag(self) -> None:
        if self.lag is not None and self.decay:
            self.teacher = LoraPair.concatenated([(self.average, 1.0), (self.lag, self.decay)])

    def carry(self) -> dict[str, Tensor]:
        """The lag at the end of a stage, teacher minus student, unless the teacher is reset or equals the student.

        Its rank, and the cost of a step, would grow with every stage. Only the largest part, of rank 2 r, is kept; in
        the first stage that is all of it.
        """
        if self.settings.reset:
            return {}
        student = self.student.copy()
        if all(map(torch.equal, self.teacher.factors, student.factors)):
            return {}
        lag = LoraPair.concatenated([(self.teacher, 1.0), (student, -1.0)])
        rank = next(iter(self.average.b.values())).shape[0]
        return (lag if self.teacher is self.average else lag.truncated(2 * rank)).state()

    def load_carry(self, carry: Mapping[str, Tensor]) -> None:
        self.lag = placed(carry, self.average)
        self._add_lag()

    def state(self) -> dict[str, Tensor]:
        return self.average.state() | {"decay": torch.tensor(self.decay, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        super().load_state({key: value for key, value in state.items() if key != "decay"})
        self.average, self.decay = self.teacher, float(state["decay"])
        self._add_lag()
