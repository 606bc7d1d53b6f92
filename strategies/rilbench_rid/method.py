"""Reward Incremental Distillation: Sec. 4.2 and Alg. 1 of the paper.

The baseline plus an EMA teacher: both map the same z_1 to an image, and the student may differ from the teacher only as
far as the reward is worth it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rilbench import ConfigError, LoraPair, Stage, Step, Strategy, setting


@dataclass(frozen=True)
class MethodSettings:
    """lambda and alpha of the paper, and what it writes in two ways: the distance."""

    lam: float = setting(
        0.1,
        "weight of the distillation, relative to the scaled reward; 0 is RID without a teacher",
        at_least=0,
        at_most=1e9,
    )
    alpha: float | None = setting(
        0.99,
        "momentum of the teacher; 1 freezes it at the start of the stage; null if time_constants sets it",
        at_least=0,
        at_most=1,
    )
    time_constants: float | None = setting(
        None,
        "length of a stage in time constants of the teacher: alpha is exp(-time_constants / updates of the stage)",
        at_least=0,
        at_most=1e6,
    )
    distance: Literal["mean", "sum"] = setting(
        "mean",
        "the squared error's mean over all numbers of an image (`mean`, Alg. 1) or its sum (`sum`, Eq. 8)",
    )

    def __post_init__(self) -> None:
        if self.alpha is not None and self.time_constants is not None:
            raise ConfigError("alpha: both alpha and time_constants set the teacher's momentum; set alpha to null")
        if self.alpha is None and self.time_constants is None:
            raise ConfigError("alpha: neither alpha nor time_constants is set; set one of them")


class RewardIncrementalDistillation(Strategy):
    """A stage per reward, each with its own pair (Eq. 4)."""

    Settings = MethodSettings
    settings: MethodSettings
    remedies: ClassVar[Mapping[str, str]] = {
        "distillation": "raise lam or alpha or set distance=sum in strategy_settings.rid, or lower train.reward_scale",
        "reward": "lower lam in strategy_settings.rid, or raise train.reward_scale",
    }
    teacher: LoraPair  # theta_T, on the student's frozen pairs

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.teacher = pair.copy()  # the paper does not state its start: here, the student

    def loss(self, step: Step) -> Tensor:
        """Eq. 9; its gradient goes to A_t and B_t. Lines are those of Alg. 1."""
        x_0 = step.decode(step.denoise())  # the student, z_1 to z_0: line 11
        reward = step.term("reward", -step.reward(x_0))  # line 12, Eq. 5
        with torch.no_grad():
            x_tea = step.decode(step.denoise(self.teacher))  # the teacher, from the same z_1: lines 9, 10
        distance = self.distance(x_0, x_tea)  # Eq. 8
        return reward + step.term("distillation", self.settings.lam * distance)  # line 13, Eq. 9

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The squared error of images or latents (B, ...), a mean over B."""
        error = (student - teacher).pow(2)
        return error.mean() if self.settings.distance == "mean" else error.flatten(1).sum(1).mean()

    def after_update(self, step: Step) -> None:
        self.teacher.lerp_(step.pair, 1 - self.alpha(step))  # alpha theta_T + (1 - alpha) theta: line 16, Eq. 6

    def alpha(self, step: Step) -> float:
        """The teacher's momentum in this stage."""
        if self.settings.alpha is not None:
            return self.settings.alpha
        assert self.settings.time_constants is not None  # the settings refuse both being null
        return math.exp(-self.settings.time_constants / step.updates)

    def state(self) -> dict[str, Tensor]:
        return self.teacher.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teacher = placed(state, self.teacher)


def placed(state: Mapping[str, Tensor], like: LoraPair) -> LoraPair:
    """The pair of a state, on the device of another."""
    return LoraPair.from_state(state).to(like.factors[0].device)
