"""Small changes of an image that no person minds: a reward's gain that they undo was not in the picture.

A column `NAME@PERTURBATION` is the score NAME of the changed images.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

QUALITY = 80


def jpeg(images: Tensor) -> Tensor:
    """Through a JPEG file of quality 80, 4:2:0, written and read with Pillow."""
    return torch.stack([_through_file(image) for image in (images * 255).round().to(torch.uint8).cpu()]).to(images)


def _through_file(image: Tensor) -> Tensor:
    file = io.BytesIO()
    pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    pixels.save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
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
