"""Recognizes the content of an image of the world: the shape, size, place and colours that explain it best.

For every hypothesis (shape x size x place x a few jitters) the image is fitted, channel by channel, as a linear
background ramp plus a constant on the shape's mask. The hypothesis with the least residual wins; its fitted colours
name the shape's colour and the background. All hypotheses are one matrix product.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from rilbench_shapes.renderer import blur, shape_mask
from rilbench_shapes.world import CENTRE, PALETTE, PLACES, RADIUS, RESOLUTION, SHAPES, SIZES, STYLE

JITTER = (-1.5, 0.0, 1.5)  # pixels
SCALES = (0.92, 1.08)
BLURS = (0.0, 0.8, 1.3)  # pixels; a decoder blurs as styles do


@dataclass(frozen=True)
class Hypotheses:
    """H masks (H, P) over P pixels, made orthogonal to the background ramp, and the content of each."""

    masks: Tensor
    content: dict[str, Tensor]  # shape, size, place: (H,) indices
    raw: Tensor  # (H, P) coverage


@cache
def hypotheses() -> Hypotheses:
    """Every shape, size and place with every jitter."""
    grid = list(itertools.product(range(len(SHAPES)), range(len(SIZES)), range(len(PLACES)), JITTER, JITTER, SCALES))
    shape, size, place = (torch.tensor([row[i] for row in grid]) for i in range(3))
    dx, dy, scale = (torch.tensor([row[i] for row in grid]) for i in range(3, 6))
    centre = torch.tensor(CENTRE)[place]
    raw = shape_mask(shape, centre[:, 0] + dx, centre[:, 1] + dy, torch.tensor(RADIUS)[size] * scale).flatten(1)
    ramp = background_basis()
    image = raw.reshape(-1, 1, RESOLUTION, RESOLUTION).expand(-1, 3, -1, -1)
    seen = torch.cat([blur(image, torch.full((len(raw),), sigma))[:, 0].flatten(1) for sigma in BLURS])
    masks = seen - seen @ ramp @ ramp.T
    masks = masks / masks.norm(dim=1, keepdim=True)
    content = {"shape": shape, "size": size, "place": place}
    return Hypotheses(masks, {k: v.repeat(len(BLURS)) for k, v in content.items()}, raw.repeat(len(BLURS), 1))


@cache
def background_basis() -> Tensor:
    """Orthonormal basis (P, 3) of constant, horizontal and vertical ramps."""
    line = torch.linspace(-1, 1, RESOLUTION)
    y, x = torch.meshgrid(line, line, indexing="ij")
    basis: Tensor = torch.linalg.qr(torch.stack([torch.ones_like(x), x, y]).flatten(1).T)[0]
    return basis


def read(images: Tensor) -> dict[str, Tensor]:
    """Content (B,) indices of shape, size, place, colour and background of images (B, 3, 32, 32) in [0, 1]."""
    known = hypotheses()
    pixels = images.float().cpu().flatten(2)  # (B, 3, P)
    explained = (pixels @ known.masks.T).pow(2).sum(1)  # (B, H): what the mask explains beyond the ramp
    best = explained.argmax(1)
    inside = known.raw[best][:, None]  # (B, 1, P)
    found = {name: column[best] for name, column in known.content.items()}
    found["colour"] = nearest_colour(_median(pixels, inside > 0.9))
    found["background"] = nearest_colour(_median(pixels, inside < 0.02))
    return found


def nearest_colour(colours: Tensor) -> Tensor:
    """Palette index (B,) of colours (B, 3), whatever their saturation and brightness."""
    table, index = styled_palette()
    return index[torch.cdist(colours, table).argmin(1)]


@cache
def styled_palette() -> tuple[Tensor, Tensor]:
    """The palette under every style: colours (K, 3) and the palette index (K,) of each."""
    palette = torch.tensor(PALETTE)
    grey = palette.mean(1, keepdim=True)
    saturation = torch.linspace(*STYLE["saturation"][:2], 6)
    brightness = torch.linspace(0.7 * STYLE["brightness"][0], STYLE["brightness"][1], 6)
    colours = [torch.lerp(grey, palette, s) * b for s in saturation for b in brightness]
    return torch.cat(colours), torch.arange(len(palette)).repeat(len(colours))


def _median(pixels: Tensor, where: Tensor) -> Tensor:
    """Channel medians (B, 3) of the chosen pixels."""
    return pixels.masked_fill(~where, float("nan")).nanmedian(dim=2).values
