"""Scenes to images: anti-aliased signed distance fields, then style. Pure torch, one call per batch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rilbench_shapes.world import CENTRE, PALETTE, RADIUS, RESOLUTION, SHAPES, Scenes

SHADOW_OFFSET = 1.8  # pixels, right and down
BLUR_TAPS = torch.arange(-4, 5, dtype=torch.float32)


def render(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """Images (B, 3, 32, 32) in [0, 1]. The generator draws the grain only."""
    centre = torch.tensor(CENTRE)[scenes.place]
    x, y, radius = centre[:, 0] + scenes.dx, centre[:, 1] + scenes.dy, torch.tensor(RADIUS)[scenes.size]
    mask = shape_mask(scenes.shape, x, y, radius * scenes.scale)
    shade = shape_mask(scenes.shape, x + SHADOW_OFFSET, y + SHADOW_OFFSET, radius * scenes.scale)

    background = styled_colour(scenes.background, scenes)[:, :, None, None] * _ramp(scenes.gradient)
    background = background * (1 - scenes.shadow[:, None, None, None] * shade)
    images = torch.lerp(background, styled_colour(scenes.colour, scenes)[:, :, None, None], mask)
    images = blur(images, scenes.blur)
    grain = torch.randn(images.shape, generator=generator)
    return (images + scenes.grain[:, None, None, None] * grain).clamp(0, 1)


def styled_colour(index: Tensor, scenes: Scenes) -> Tensor:
    """Palette colours (B, 3) pulled towards grey by saturation and scaled by brightness."""
    colour = torch.tensor(PALETTE)[index]
    grey = colour.mean(1, keepdim=True)
    return torch.lerp(grey, colour, scenes.saturation[:, None]) * scenes.brightness[:, None]


def shape_mask(shape: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Coverage (B, 1, 32, 32) in [0, 1] of shapes centred at (x, y), all in pixels."""
    pixel = torch.arange(RESOLUTION) + 0.5
    px = (pixel[None, None, :] - x[:, None, None]).expand(-1, RESOLUTION, -1)
    py = (pixel[None, :, None] - y[:, None, None]).expand(-1, -1, RESOLUTION)
    distance = torch.empty_like(px)
    for index, name in enumerate(SHAPES):
        rows = shape == index
        if rows.any():
            distance[rows] = _DISTANCE[name](px[rows], py[rows], radius[rows, None, None])
    return (0.5 - distance).clamp(0, 1)[:, None]


def _circle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (x**2 + y**2).sqrt() - r


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return ((x**2 + y**2).sqrt() - 0.74 * r).abs() - 0.26 * r


def _box(x: Tensor, y: Tensor, half_x: Tensor, half_y: Tensor) -> Tensor:
    return torch.maximum(x.abs() - half_x, y.abs() - half_y)


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return _box(x, y, 0.88 * r, 0.88 * r)


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.minimum(_box(x, y, r, 0.3 * r), _box(x, y, 0.3 * r, r))


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    y = y - 0.2 * r  # the apex points up; the shift centres its bounding box
    sides = [x * math.cos(a) + y * math.sin(a) for a in (math.pi / 2, -math.pi / 6, 7 * math.pi / 6)]
    return torch.stack(sides).amax(0) - 0.58 * r


_DISTANCE = {"circle": _circle, "square": _square, "triangle": _triangle, "cross": _cross, "ring": _ring}


def _ramp(gradient: Tensor) -> Tensor:
    """Vertical brightness ramp (B, 1, 32, 1): 1 at the top, 1 - gradient at the bottom."""
    height = torch.linspace(0, 1, RESOLUTION)
    return 1 - gradient[:, None, None, None] * height[None, None, :, None]


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Separable Gaussian blur with one sigma (pixels) per image; sigma 0 leaves the image unchanged."""
    weights = torch.exp(-0.5 * (BLUR_TAPS / sigma.clamp_min(1e-3)[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(3, 0)
    b, c, h, w = images.shape
    flat = F.pad(images.reshape(1, b * c, h, w), (4, 4, 4, 4), mode="replicate")
    flat = F.conv2d(flat, weights[:, None, None, :], groups=b * c)
    return F.conv2d(flat, weights[:, None, :, None], groups=b * c).reshape(b, c, h, w)
