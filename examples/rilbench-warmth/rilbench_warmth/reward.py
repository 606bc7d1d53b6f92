"""The reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import ConfigError, Reward
from rilbench_warmth.colour import warm_cool


@dataclass(frozen=True)
class WarmthSettings:
    """warmest: the hue in CIELAB that counts as warmest, in degrees from 0 to 360; 50 is the published one."""

    warmest: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmest <= 360:
            raise ConfigError(f"warmest: {self.warmest} is not between 0 and 360 degrees")


class Warmth(Reward):
    """How warm an image's colours are: the mean over its pixels of the warm-cool scale, see `warm_cool`.

    Grey images score -0.5, pure red 2.35, the most. It asks for saturated colours and knows nothing of the picture, so
    train on it briefly and look at the images.
    """

    api_version = 1  # of rilbench, for which this was written
    Settings = WarmthSettings
    settings: WarmthSettings
    uses_prompts = False
    precision = "fp64"  # a closed form: nothing is rounded on the way
    metrics = ("warm_share",)  # measured along with the reward, in a column of its own

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return warm_cool(images, warmest=self.settings.warmest).mean((1, 2))
