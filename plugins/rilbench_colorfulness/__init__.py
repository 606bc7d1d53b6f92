"""`colorfulness`: how colourful people find an image, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench import Reward

EPS = 1e-10  # inside the roots: keeps the gradient finite on grey images, adds at most 1.3e-5 to the score


class Colorfulness(Reward):
    """sigma + 0.3 mu of the opponent colours rg = R - G and yb = (R + G) / 2 - B, over the pixels of an image.

    sigma = sqrt(var rg + var yb) and mu = sqrt(mean(rg)^2 + mean(yb)^2), on pixels in [0, 1]; the published figure, on
    0..255, is 255 times ours: slightly colourful is 15 / 255 = 0.06, extremely 109 / 255 = 0.43. An exactly grey image
    scores 1.3e-5 with a gradient of 0.
    Source: Hasler and Süsstrunk, Measuring colourfulness in natural images (2003).
    """

    api_version = 1
    uses_prompts = False
    precision = "fp64"

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        images = images.to(torch.promote_types(images.dtype, torch.float32))  # half is too inexact for variances
        red, green, blue = images.flatten(2).unbind(1)  # each (B, H * W)
        opponents = torch.stack([red - green, (red + green) / 2 - blue])  # (2, B, H * W)
        sigma = (opponents.var(2, correction=0).sum(0) + EPS).sqrt()
        mu = (opponents.mean(2).pow(2).sum(0) + EPS).sqrt()
        return sigma + 0.3 * mu
