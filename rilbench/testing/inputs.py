"""The inputs of the checks: images with structure at every scale, and captions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PROMPTS = (
    "a large red circle at the left on a blue background",
    "a small green square in the middle on a white background",
    "a large yellow ring at the top on a black background",
    "a small cyan cross at the bottom on a purple background",
    "a large blue triangle at the right on a yellow background",
    "a small white ring at the left on a red background",
    "a large black cross in the middle on a cyan background",
    "a small purple circle at the right on a green background",
)
SCALES = {4: 1.5, 12: 0.7}  # cells a side: strength of smooth noise


def images(n: int, size: int, *, seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (n, 3, size, size) in (0.04, 0.96): smooth at two scales, with a little grain, all different."""
    field = smooth(n, size, seed=seed)
    grain = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return (0.04 + 0.92 * torch.sigmoid(field + 0.15 * grain)).to(device, dtype)


def smooth(n: int, size: int, *, seed: int) -> Tensor:
    """Smooth noise (n, 3, size, size), float64, of about unit size."""
    generator = torch.Generator().manual_seed(seed)
    field = torch.zeros(n, 3, size, size, dtype=torch.float64)
    for cells, strength in SCALES.items():
        coarse = torch.randn(n, 3, cells, cells, generator=generator, dtype=torch.float64)
        field += strength * F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return field
