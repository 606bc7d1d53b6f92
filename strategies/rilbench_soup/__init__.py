"""`soup`: one model per reward, each tuned from the base, then the average of their weight changes (Sec. 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rilbench import Stage, Strategy, setting


@dataclass(frozen=True)
class SoupSettings:
    """What is averaged, and how the models were trained."""

    coefficients: dict[str, float] = setting(
        {}, "coefficient of each reward's model; equal by default", at_least=-1000, at_most=1000
    )
    by: str = setting("baseline", "the strategy that trains the stages", longest=200)
    average: Literal["changes", "factors"] = setting(
        "changes",
        "`changes` averages A_t B_t, which is the soup of whole models; `factors` averages A_t and B_t each, a common "
        "mistake: T equal shares then weigh every A_t B_t by 1 / T^2",
    )


class Soup(Strategy):
    """sum of c_t A_t B_t over models tuned from the base, one reward each."""

    Settings = SoupSettings
    settings: SoupSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        names = list(dict.fromkeys(rewards))  # a repeated reward has one model
        share = 1 / len(names)
        singles = [Stage(rewards={name: 1.0}, start="base", by=self.settings.by) for name in names]
        shares = {i: float(self.settings.coefficients.get(name, share)) for i, name in enumerate(names)}
        return [*singles, Stage(merge=shares, average=self.settings.average)]
