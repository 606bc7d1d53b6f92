"""`wise_ft`: a tuned sequence, its weight changes scaled down at the end (WiSE-FT, Wortsman et al. 2022).

The simplest way to forget less is to move less: what a method keeps must be compared with this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rilbench import ConfigError, Stage, Strategy


@dataclass(frozen=True)
class WiseFTSettings:
    """scale: of the sum of all A_t B_t, in [0, 1]: 0 is the base model, 1 the tuned one. by: who trains the stages."""

    scale: float = 0.5
    by: str = "baseline"

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= 1:
            raise ConfigError(f"scale: {self.scale} is not between 0 and 1")


class WiseFT(Strategy):
    """W + scale x sum of A_t B_t, after the last stage."""

    Settings = WiseFTSettings
    settings: WiseFTSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        stages = [Stage(rewards={name: 1.0}, by=self.settings.by) for name in rewards]
        return [*stages, Stage(merge={len(stages) - 1: self.settings.scale})]
