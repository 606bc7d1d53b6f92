"""`sharpness`: how strongly brightness changes from pixel to pixel, the focus measure of autofocus."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rilbench import Reward

LUMA = (0.299, 0.587, 0.114)  # of R, G, B; ITU-R BT.601


class Sharpness(Reward):
    """The variance over an image's pixels of the Laplacian of its luma, between 0 and 16. Noise counts as sharp.

    The Laplacian of a pixel is the sum of its four neighbours minus four times itself; outside, the image goes on as
    its border pixels (replicate). The figure of pixels in 0..255, where 100 is a usual limit for blurred photos, is
    255^2 times ours. A flat image scores 0, the minimum, with a gradient of 0: there is no root to make it infinite.
    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000); LAP4 in Pertuz et al., Analysis
    of focus measure operators for shape-from-focus (2013).
    """

    api_version = 1
    uses_prompts = False
    precision = "fp64"

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        images = images.to(torch.promote_types(images.dtype, torch.float32))  # half is too inexact for differences
        luma = (images * images.new_tensor(LUMA)[:, None, None]).sum(1)
        return laplacian(luma).flatten(1).var(1, correction=0)


def laplacian(x: Tensor) -> Tensor:
    """The 4-neighbour Laplacian (B, H, W) of x (B, H, W), replicated at the border.

    A replicated neighbour differs by 0, so the second differences are those of the first ones between two zeros.
    """
    across = F.pad(x.diff(dim=2), (1, 1)).diff(dim=2)
    down = F.pad(x.diff(dim=1), (0, 0, 1, 1)).diff(dim=1)
    return across + down
