"""`joint`: all rewards at once (supplement, Eq. 10), one stage on their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rilbench import ConfigError, Stage, Step, Strategy, setting
from rilbench_joint.balance import Norms

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench import LoraPair


@dataclass(frozen=True)
class JointSettings:
    """The sum, and who trains on it."""

    weights: dict[str, float] = setting(
        {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0},
        "of each reward in the sum, Eq. 10 by default; 1 for a reward not named",
        at_least=-1e12,
        at_most=1e12,
    )
    by: str = setting("baseline", "the strategy that trains the stage", longest=200)
    balance: str = setting(
        "weights",
        "`weights` takes the sum as it is; `gradients` first divides each reward by the running norm of its gradient "
        "with respect to the pair in training, so that equal weights pull equally hard; a backward pass per reward",
        choices=("weights", "gradients"),
    )
    momentum: float = setting(0.99, "of the running norms", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.balance == "gradients" and self.by != "baseline":
            raise ConfigError(f"by: balanced gradients are joint's own loss; {self.by} cannot train on them")


class Joint(Strategy):
    """R_j = sum of weight x R."""

    Settings = JointSettings
    settings: JointSettings
    norms: Norms

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        weights = {name: float(self.settings.weights.get(name, 1.0)) for name in sorted(set(rewards))}
        return [Stage(rewards=weights, by=None if self.settings.balance == "gradients" else self.settings.by)]

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.weights = stage.rewards
        self.norms = Norms(len(stage.rewards), self.settings.momentum)

    def loss(self, step: Step) -> Tensor:
        import torch

        rewards = step.rewards_by_name(step.decode(step.denoise()))
        return torch.stack([self.weights[name] * step.term(name, -value) for name, value in rewards.items()]).sum()

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """sum of weight x gradient / running norm; once an update, however many parts its batch is cut into."""
        import torch

        norms = self.norms.update([gradients[name] for name in self.weights])
        shares = [weight / norm if norm else 0.0 for weight, norm in zip(self.weights.values(), norms, strict=True)]
        return torch.stack([share * gradients[name] for name, share in zip(self.weights, shares, strict=True)]).sum(0)

    def state(self) -> dict[str, Tensor]:
        return self.norms.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.norms.load_state(state)
