"""`wise_ft`: a tuned sequence, its weight changes scaled down at the end (WiSE-FT, Wortsman et al. 2022).

The simplest way to forget less is to change the weights less, so this is the control for every other method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rilbench import Stage, Strategy, setting


@dataclass(frozen=True)
class WiseFTSettings:
    """The factor of the weight changes, and how the model was trained."""

    scale: float = setting(
        0.5, "factor of the sum of all A_t B_t: 0 is the base model, 1 the tuned one", at_least=0, at_most=1
    )
    by: str = setting("baseline", "the strategy that trains the stages", longest=200)


class WiseFT(Strategy):
    """W + scale x sum of A_t B_t, after the last stage."""

    Settings = WiseFTSettings
    settings: WiseFTSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        stages = [Stage(rewards={name: 1.0}, by=self.settings.by) for name in rewards]
        return [*stages, Stage(merge={len(stages) - 1: self.settings.scale})]
