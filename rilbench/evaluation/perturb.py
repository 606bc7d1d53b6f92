"""Rewards of perturbed images as columns of the result; imported by runs that measure one.

Perturbations are changes of an image that do not matter to a viewer: a gain in reward that they remove was not a
visible one. A column `NAME@PERTURBATION` is the score NAME of the perturbed images.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rilbench.contracts.components import Reward
from rilbench.evaluation.evaluate import RewardMetric


class Perturbed(RewardMetric):
    """A reward's mean on perturbed images."""

    def __init__(self, name: str, reward: Reward, perturbation: str) -> None:
        super().__init__(name, reward)
        self.perturbation = perturbation

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return super().score(PERTURBATIONS[self.perturbation](images), prompts)


def jpeg(images: Tensor) -> Tensor:
    """A JPEG file of quality 80, 4:2:0, written and read with Pillow."""
    return torch.stack([_through_file(image) for image in (images * 255).round().to(torch.uint8).cpu()]).to(images)


def _through_file(image: Tensor) -> Tensor:
    file = io.BytesIO()
    pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    pixels.save(file, "JPEG", quality=80, subsampling="4:2:0")
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


def blur(images: Tensor) -> Tensor:
    """A Gaussian of 1/64 of the side: half a pixel at 32, 8 pixels at 512."""
    from kornia.filters import gaussian_blur2d

    sigma = images.shape[-1] / 64
    size = 2 * max(1, round(3 * sigma)) + 1
    blurred: Tensor = gaussian_blur2d(images, (size, size), (sigma, sigma), border_type="replicate")
    return blurred


def shift(images: Tensor) -> Tensor:
    """Down and to the right by 1/32 of the side, the edge repeated."""
    by = max(1, images.shape[-1] // 32)
    padded = torch.nn.functional.pad(images, (by, 0, by, 0), mode="replicate")
    return padded[..., : images.shape[-2], : images.shape[-1]]


PERTURBATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"jpeg": jpeg, "blur": blur, "shift": shift}
"""Name to a function of images (B, 3, H, W) in [0, 1] to images of the same shape and range."""
