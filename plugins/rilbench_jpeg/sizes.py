"""`png_kb` and `jpeg_kb`: sizes of real files, written by Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rilbench import MeanMetric, setting

KB = 1000  # bytes


def file_sizes(images: Tensor, **options: Any) -> Tensor:
    """Sizes in kB (B,) of images (B, 3, H, W) in [0, 1], rounded to 8 bits and saved by Pillow with `options`."""
    pixels = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return torch.tensor([_bytes(Image.fromarray(image), options) / KB for image in pixels])


def _bytes(image: Image.Image, options: dict[str, Any]) -> int:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.tell()


class PngSize(MeanMetric):
    """Mean size of the images as PNG files (Pillow's default compression), without loss."""

    higher_is_better = False
    unit = "kB"

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return file_sizes(images, format="PNG", optimize=False)


@dataclass(frozen=True)
class JpegSizeSettings:
    """JPEG quality."""

    quality: int = setting(80, "quality of JPEG", at_least=1, at_most=100)


class JpegSize(MeanMetric):
    """Mean size of the images as JPEG files, 4:2:0, with standard Huffman tables."""

    Settings = JpegSizeSettings
    settings: JpegSizeSettings
    higher_is_better = False
    unit = "kB"

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        quality = self.settings.quality
        return file_sizes(images, format="JPEG", quality=quality, subsampling="4:2:0", optimize=False)
