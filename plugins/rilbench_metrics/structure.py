"""`structure`: how similar an image is to the base model's image of the same prompt and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rilbench import MeanMetric

if TYPE_CHECKING:
    from torch import Tensor

SIGMA, RADIUS = 1.5, 5  # of the Gaussian window, in pixels
C1, C2 = 0.01**2, 0.03**2
_WEIGHTS = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(-RADIUS, RADIUS + 1)]
TAPS = [weight / sum(_WEIGHTS) for weight in _WEIGHTS]


class Structure(MeanMetric):
    """SSIM of each image and the base model's image of the same prompt and noise, at most 1 (unchanged).

    Gaussian window of 11 pixels, sigma 1.5, on RGB. Source: Wang et al., Image Quality Assessment (2004), Eq. 13.
    """

    higher_is_better = True
    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        if base_images is None:
            raise ValueError("structure compares with base_images; pass them to update")
        return ssim(images.float(), base_images.float())


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """SSIM (B,) of images (B, 3, H, W) in [0, 1].

    2 mu_x mu_y is mu_x^2 + mu_y^2 - (mu_x - mu_y)^2, and the same holds for variances. Written with the difference of
    the images, equal ones give exactly 1; the usual form loses up to 0.001 in flat areas to rounding.
    """
    difference = x - y
    mean_x, mean_y, mean_d = blur(x), blur(y), blur(difference)
    var_x, var_y, var_d = _variance(x, mean_x), _variance(y, mean_y), _variance(difference, mean_d)
    luminance = 1 - mean_d**2 / (mean_x**2 + mean_y**2 + C1)
    contrast_and_structure = 1 - var_d / (var_x + var_y + C2)
    return (luminance * contrast_and_structure).mean((1, 2, 3))


def _variance(x: Tensor, mean: Tensor) -> Tensor:
    return (blur(x * x) - mean**2).clamp(min=0)


def blur(x: Tensor) -> Tensor:
    """The Gaussian mean around each pixel, reflected at the edge; sums, because convolutions on a GPU round to TF32."""
    from torch.nn.functional import pad

    padded = pad(x, (RADIUS,) * 4, mode="reflect")
    for dim in (-2, -1):
        rows = [weight * padded.narrow(dim, i, x.shape[dim]) for i, weight in enumerate(TAPS)]
        padded = sum(rows[1:], start=rows[0])
    return padded
