"""Pictures to compare by, as tensors and as Pillow's images."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP, typed in again here
STD = (0.26862954, 0.26130258, 0.27577711)
PROMPTS = ["a photo of a red bicycle leaning against a wall", "two cats, watercolour; highly detailed!", "Aurora"]


def pictures(count: int, height: int, width: int, *, seed: int = 0, bits: int | None = 8) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] with the 1/f spectrum and the correlated channels of photographs.

    bits: of a channel; None leaves them as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 4, height, width, generator=generator)
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    frequency = (rows**2 + columns**2).sqrt().clamp(min=1 / max(height, width))
    x = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(height, width))
    x = x / x.std((2, 3), keepdim=True)
    x = 0.18 * x[:, :1] + 0.08 * x[:, 1:] + 0.3 + 0.4 * torch.rand(count, 3, 1, 1, generator=generator)
    x = x.clamp(0, 1)
    return x if bits is None else (x * (2**bits - 1)).round() / (2**bits - 1)


def pil(image: Tensor) -> Image.Image:
    """One image (3, H, W) in [0, 1] as Pillow has it, in 8 bits."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def normalised(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] as CLIP takes them."""
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def by_pillow(x: Tensor, size: int = 224) -> Tensor:
    """The published preprocessing of CLIP: Pillow scales the short side in 8 bits, the centre is cut out."""
    import torchvision.transforms as T

    steps = [T.Resize(size, T.InterpolationMode.BICUBIC), T.CenterCrop(size), T.ToTensor(), T.Normalize(MEAN, STD)]
    return torch.stack([T.Compose(steps)(pil(image)) for image in x])


def by_torch(x: Tensor, size: int = 224, *, antialias: bool = True) -> Tensor:
    """The same without 8 bits in between."""
    height, width = x.shape[-2:]
    short = min(height, width)
    shape = (size * height // short, size * width // short)
    x = F.interpolate(x, shape, mode="bicubic", antialias=antialias, align_corners=False)
    top, left = (round((side - size) / 2) for side in shape)
    return normalised(x[..., top : top + size, left : left + size])


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors of one shape."""
    assert one.shape == other.shape
    return float((one.detach().double() - other.detach().double()).abs().max())
