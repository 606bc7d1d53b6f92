"""`rid`: Reward Incremental Distillation (Sec. 4.2, Alg. 1), with the paper's ablations as settings.

The baseline plus a momentum teacher: student and teacher map the same z_1 to z_0, and the student may leave the
teacher only as far as the reward is worth it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rilbench import ConfigError, Stage, Step, Strategy, setting
from rilbench_rid.teacher import Teacher

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench import LoraPair


@dataclass(frozen=True)
class RIDSettings:
    """The teacher, and what it is compared on."""

    lam: float = setting(
        0.1,
        "weight of the distillation, relative to the scaled reward; 0 is RID without a teacher",
        at_least=0,
        at_most=1e12,
    )
    alpha: float = setting(
        0.99, "momentum of the teacher; 1 freezes it at the start of the stage", at_least=0, at_most=1
    )
    space: str = setting(
        "pixel",
        "where the mean squared error is taken: on decoded images in [0, 1] (`pixel`) or on z_0 (`latent`)",
        choices=("pixel", "latent"),
    )
    distil: str = setting(
        "last",
        "the teacher starts from the student's z_1 (`last`, Eq. 8) or from z_N on its own (`full`, Eq. 7)",
        choices=("last", "full"),
    )
    reset: bool = setting(
        True, "the teacher restarts as the student at a new stage; false keeps the average over all stages"
    )
    group: bool = setting(True, "a pair for every stage (Eq. 4); false trains one shared pair on and on")

    def __post_init__(self) -> None:
        if not self.reset and not self.group:
            raise ConfigError("reset: false is for a group of pairs; with one shared pair set it to true")


class RID(Strategy):
    """The baseline's loss plus distillation from an EMA teacher, on the last denoising step only."""

    Settings = RIDSettings
    settings: RIDSettings
    teacher: Teacher

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        group = self.settings.group
        return [Stage(rewards={name: 1.0}, start="previous" if group else "continue") for name in rewards]

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.teacher = Teacher(pair, self.settings.alpha)

    def loss(self, step: Step) -> Tensor:
        z_0 = step.denoise()
        x_0 = step.decode(z_0)
        reward = step.term("reward", -step.reward(x_0))
        if not self.settings.lam:
            return reward
        z_0_teacher, x_0_teacher = self._taught(step)
        drift = x_0 - x_0_teacher if self.settings.space == "pixel" else z_0 - z_0_teacher
        return reward + step.term("distillation", self.settings.lam * drift.pow(2).mean())  # Eq. 8 and 9

    def _taught(self, step: Step) -> tuple[Tensor, Tensor]:
        """z_0 and x_0 of the teacher, without gradient."""
        import torch

        with torch.no_grad():
            teacher = self.teacher.pair
            z = step.z if self.settings.distil == "last" else step.rollout(teacher)
            z_0 = step.denoise(teacher, z)
            return z_0, step.decode(z_0) if self.settings.space == "pixel" else z_0

    def after_update(self, step: Step) -> None:
        self.teacher.follow(step.pair)  # Eq. 6

    def state(self) -> dict[str, Tensor]:
        return self.teacher.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teacher.load_state(state)

    def carry(self) -> dict[str, Tensor]:
        return {} if self.settings.reset else self.teacher.behind()

    def load_carry(self, carry: Mapping[str, Tensor]) -> None:
        self.teacher.load_carry(carry)
