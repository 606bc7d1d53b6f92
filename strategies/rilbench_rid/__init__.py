"""`rid`: Reward Incremental Distillation (Sec. 4.2, Alg. 1).

The baseline plus a momentum teacher: student and teacher map the same z_1 to z_0, and the student may leave the
teacher only as far as the reward is worth it. The teacher is an average of the current pair only; at a new stage it
restarts as the student, which then equals the end of the previous stage because the new pair is zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rilbench import ConfigError, Stage, Step, Strategy

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench import LoraPair


@dataclass(frozen=True)
class RIDSettings:
    """lam: weight of the distillation, relative to the scaled reward. alpha: momentum of the teacher.

    space: where the mean squared error is taken, on decoded images in [0, 1] (`pixel`) or on z_0 (`latent`).
    """

    lam: float = 0.1
    alpha: float = 0.99
    space: str = "pixel"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"alpha: {self.alpha} is not between 0 and 1")
        if not self.lam >= 0:
            raise ConfigError(f"lam: {self.lam} is negative")
        if self.space not in ("pixel", "latent"):
            raise ConfigError(f"space: {self.space!r} is neither pixel nor latent")


class RID(Strategy):
    """The baseline's loss plus last-step distillation from an EMA teacher."""

    Settings = RIDSettings
    settings: RIDSettings
    teacher: LoraPair

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.teacher = pair.copy()

    def loss(self, step: Step) -> Tensor:
        import torch

        z_0 = step.denoise()
        x_0 = step.decode(z_0)
        with torch.no_grad():
            z_0_teacher = step.denoise(self.teacher)  # the same z_1
            x_0_teacher = step.decode(z_0_teacher) if self.settings.space == "pixel" else None
        drift = z_0 - z_0_teacher if x_0_teacher is None else x_0 - x_0_teacher
        reward = step.term("reward", -step.reward(x_0))
        return reward + step.term("distillation", self.settings.lam * drift.pow(2).mean())  # Eq. 8 and 9

    def after_update(self, step: Step) -> None:
        self.teacher.lerp_(step.pair, 1 - self.settings.alpha)  # Eq. 6

    def state(self) -> dict[str, Tensor]:
        return self.teacher.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teacher = type(self.teacher).from_state(state).to(self.teacher.factors[0].device)
