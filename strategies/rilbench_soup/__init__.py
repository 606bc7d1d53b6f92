"""`soup`: one model a reward, each tuned from the base, then the average of their weight changes (Sec. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rilbench import Stage, Strategy


@dataclass(frozen=True)
class SoupSettings:
    """coefficients: of each reward's model; equal shares by default. by: the strategy that trains the models."""

    coefficients: dict[str, float] = field(default_factory=dict)
    by: str = "baseline"


class Soup(Strategy):
    """sum of c_t A_t B_t over models tuned from the base, one reward each."""

    Settings = SoupSettings
    settings: SoupSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        share = 1 / len(rewards)
        singles = [Stage(rewards={name: 1.0}, start="base", by=self.settings.by) for name in rewards]
        shares = {i: float(self.settings.coefficients.get(name, share)) for i, name in enumerate(rewards)}
        return [*singles, Stage(merge=shares)]
