"""`joint`: all rewards at once (supplement, Eq. 10), one stage on their weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rilbench import ConfigError, Stage, setting
from rilbench_joint.balance import Balanced


@dataclass(frozen=True)
class JointSettings:
    """The sum, and who trains on it."""

    weights: dict[str, float] = setting(
        {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0},
        "of each reward in the sum, Eq. 10 by default; 1 for a reward not named",
        at_least=-1e6,
        at_most=1e6,
    )
    by: str = setting("baseline", "the strategy that trains the stage", longest=200)
    balance: Literal["weights", "gradients"] = setting(
        "weights",
        "`weights` takes the sum as it is; `gradients` first divides each reward by the running norm of its gradient "
        "with respect to the pair in training, so that equal weights pull equally hard; a backward pass per reward",
    )
    momentum: float = setting(0.99, "momentum of the running norms", at_least=0, below=1)

    def __post_init__(self) -> None:
        if self.balance == "gradients" and self.by != "baseline":
            raise ConfigError(f"by: balanced gradients are joint's own loss; {self.by} cannot train on them")


class Joint(Balanced):
    """R_j = sum of weight x R (Eq. 10), on which `by` trains; `balance=gradients` trains as `Balanced` does."""

    Settings = JointSettings
    settings: JointSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        weights = {name: float(self.settings.weights.get(name, 1.0)) for name in sorted(set(rewards))}
        return [Stage(rewards=weights, by=None if self.settings.balance == "gradients" else self.settings.by)]
