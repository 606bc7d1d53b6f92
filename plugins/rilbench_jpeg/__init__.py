"""`compressibility`: how little JPEG changes an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rilbench import Reward, setting


@dataclass(frozen=True)
class CompressibilitySettings:
    """JPEG quality, and the reduction of its error to one number."""

    quality: int = setting(80, "quality of JPEG", at_least=1, at_most=100)
    reduction: Literal["mean", "sum"] = setting("mean", "reduction of the squared error over pixels and channels")


class Compressibility(Reward):
    """-||x - JPEG(x)||^2 of pixels in [0, 1], at most 0, with a differentiable JPEG (4:2:0) of any image size.

    Rounding is x -> round(x) + (x - round(x))^3, whose gradient is not zero. At quality 80 the error differs from that
    of a real file by -22 to +12 %, so `png_kb` and `jpeg_kb` report the sizes of real files. Sides that are
    not a multiple of 16 are padded with their last row and column. Prompts are ignored.
    Source: Shin and Song, JPEG-resistant Adversarial Images (2017), as kornia implements it.
    """

    Settings = CompressibilitySettings
    settings: CompressibilitySettings
    uses_prompts = False
    precision = "fp64"
    metrics = ("png_kb", "jpeg_kb")

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        from kornia.enhance import jpeg_codec_differentiable

        images = images.to(torch.promote_types(images.dtype, torch.float32))  # half is too inexact for small errors
        decoded: Tensor = jpeg_codec_differentiable(
            images, torch.tensor([float(self.settings.quality)], device=images.device)
        )
        error = (images - decoded).pow(2).flatten(1)
        return -error.mean(1) if self.settings.reduction == "mean" else -error.sum(1)
