"""The reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import Reward, setting
from rilbench_warmth.colour import warm_cool


@dataclass(frozen=True)
class WarmthSettings:
    """The scale of warm and cool."""

    warmest: float = setting(50.0, "hue in CIELAB that counts as warmest, in degrees", at_least=0, at_most=360)


class Warmth(Reward):
    """How warm an image's colours are: the mean over its pixels of the warm-cool scale, see `warm_cool`.

    Grey images score -0.5, pure red 2.35, the maximum. It favours saturated colours and ignores the content, so train
    on it briefly and look at the images.
    """

    api_version = 1  # of the contract this class was written for
    Settings = WarmthSettings
    settings: WarmthSettings
    uses_prompts = False
    precision = "fp64"  # a closed form, computed without rounding to a lower precision
    metrics = ("warm_share",)  # also measured, in its own column

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return warm_cool(images, warmest=self.settings.warmest).mean((1, 2))
