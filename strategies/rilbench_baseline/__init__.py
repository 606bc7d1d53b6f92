"""`baseline`: the adapted baseline of the paper (Sec. 4.1), AlignProp and DRaFT over the LoRA adapter group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import Stage, Step, Strategy, setting


@dataclass(frozen=True)
class BaselineSettings:
    """Whether each stage has its own pair."""

    group: bool = setting(True, "one pair per stage (Eq. 4); false: one shared pair for all stages")


class Baseline(Strategy):
    """Follows the reward's gradient through the last K denoising steps (`train.last_steps`; DRaFT-K)."""

    Settings = BaselineSettings
    settings: BaselineSettings

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        group = self.settings.group
        return [Stage(rewards={name: 1.0}, start="previous" if group else "continue") for name in rewards]

    def loss(self, step: Step) -> Tensor:
        z_0 = step.denoise()  # the last K steps of f(z_N | c), with gradient to A_t and B_t
        return step.term("reward", -step.reward(step.decode(z_0)))  # Eq. 5
