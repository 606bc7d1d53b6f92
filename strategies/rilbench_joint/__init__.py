"""`joint`: all rewards at once (supplement, Eq. 10), one stage on their weighted sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rilbench import Stage, Strategy


@dataclass(frozen=True)
class JointSettings:
    """weights: of each reward in the sum, Eq. 10 by default; 1 for a reward not named. by: the strategy that trains."""

    weights: dict[str, float] = field(default_factory=lambda: {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0})
    by: str = "baseline"


class Joint(Strategy):
    """R_j = sum of weight x R."""

    Settings = JointSettings
    settings: JointSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        weights = self.settings.weights
        return [Stage(rewards={name: float(weights.get(name, 1.0)) for name in sorted(rewards)}, by=self.settings.by)]
