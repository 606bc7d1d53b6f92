"""`baseline`: the adapted baseline of the paper (Sec. 4.1), AlignProp and DRaFT over the LoRA adapter group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rilbench import Step, Strategy

if TYPE_CHECKING:
    from torch import Tensor


class Baseline(Strategy):
    """Follow the reward's gradient through the last denoising steps."""

    def loss(self, step: Step) -> Tensor:
        z_0 = step.denoise()
        return step.term("reward", -step.reward(step.decode(z_0)))  # Eq. 5
