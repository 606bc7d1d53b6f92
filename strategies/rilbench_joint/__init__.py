"""`joint`: all rewards at once (supplement, Eq. 10), one stage on their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rilbench import ConfigError, LoraPair, Stage, Step, Strategy, setting


@dataclass(frozen=True)
class JointSettings:
    """The weighted sum, and the strategy that trains on it."""

    weights: dict[str, float] = setting(
        {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0},
        "weight of each reward in the sum, Eq. 10 by default; 1 for a reward not named",
        at_least=-1e6,
        at_most=1e6,
    )
    by: str = setting("baseline", "the strategy that trains the stage", longest=200)
    balance: Literal["weights", "gradients"] = setting(
        "weights",
        "`weights` uses the sum as it is; `gradients` first divides each reward by the running norm of its gradient "
        "with respect to the pair in training, so equal weights have equal influence (a backward pass per reward)",
    )
    momentum: float = setting(0.99, "momentum of the running norms", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.balance == "gradients" and self.by != "baseline":
            raise ConfigError(f"by: balanced gradients are joint's own loss; {self.by} cannot train on them")


class Joint(Strategy):
    """R_j = sum of weight x R (Eq. 10), on which `by` trains.

    With `balance=gradients` it follows the sum of weight x gradient / running norm of the gradient, so that all rewards
    have equal influence, whatever their scales. The running norm is an exponential average, corrected for its start at
    zero as in Adam.
    """

    Settings = JointSettings
    settings: JointSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        weights = {name: float(self.settings.weights.get(name, 1.0)) for name in sorted(set(rewards))}
        return [Stage(rewards=weights, by=None if self.settings.balance == "gradients" else self.settings.by)]

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.weights = stage.rewards
        self.norms = [0.0] * len(stage.rewards)
        self.share = 0.0  # what Adam's correction divides by: 1 - momentum^updates

    def loss(self, step: Step) -> Tensor:
        rewards = step.rewards_by_name(step.decode(step.denoise()))
        return torch.stack([self.weights[name] * step.term(name, -value) for name, value in rewards.items()]).sum()

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        m, rows = self.settings.momentum, [gradients[name] for name in self.weights]  # each (P,)
        # squares of tiny numbers underflow in float32
        lengths = [float(torch.linalg.vector_norm(row, dtype=torch.float64)) for row in rows]
        self.norms = [m * norm + (1 - m) * length for norm, length in zip(self.norms, lengths, strict=True)]
        self.share = m * self.share + (1 - m)
        factors = [w / (n / self.share) if n else 0.0 for w, n in zip(self.weights.values(), self.norms, strict=True)]
        return torch.stack([factor * row for factor, row in zip(factors, rows, strict=True)]).sum(0)

    def state(self) -> dict[str, Tensor]:
        return {"norms": torch.tensor([*self.norms, self.share], dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        *self.norms, self.share = state["norms"].tolist()
