"""Converts pixels to CIELAB, and CIELAB to how warm people find a colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SRGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))  # IEC 61966-2-1
WHITE = (0.9505, 1.0, 1.0890)  # D65: the sums of the rows above, so that grey has exactly no colour
DELTA = 6 / 29  # where the cube root of CIELAB becomes a line
EPS = 1e-6  # added to the squared chroma: the gradient of its power is infinite at grey


def warm_cool(images: Tensor, *, warmest: float) -> Tensor:
    """The warmth of each pixel (B, H, W) of sRGB images (B, 3, H, W) in [0, 1]; warm above 0, cool below.

    WC = -0.5 + 0.02 C*^1.07 cos(h - 50 degrees), with chroma C* and hue h of CIELAB; `warmest` replaces the 50.
    Grey is at -0.5, sRGB reaches from -1.66 (azure) to 2.35 (pure red).
    Source: Ou, Luo, Woodcock and Wright, A study of colour emotion and colour preference, part I (2004).
    """
    _, a, b = cielab(images).unbind(1)
    angle = math.radians(warmest)
    towards = a * math.cos(angle) + b * math.sin(angle)  # C* cos(h - warmest)
    return -0.5 + 0.02 * (a**2 + b**2 + EPS) ** 0.035 * towards


def cielab(images: Tensor) -> Tensor:
    """L*, a*, b* (B, 3, H, W) of sRGB images (B, 3, H, W) in [0, 1]; white is (100, 0, 0). Half becomes float32."""
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    curve = ((images.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4  # clamped, because autograd looks at both branches
    linear = torch.where(images > 0.04045, curve, images / 12.92)
    matrix = images.new_tensor(SRGB_TO_XYZ) / images.new_tensor(WHITE)[:, None]
    x, y, z = (_root((linear * row[:, None, None]).sum(1)) for row in matrix)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _root(t: Tensor) -> Tensor:
    """CIELAB's cube root, continued by a line below DELTA^3 (CIE 15)."""
    return torch.where(t > DELTA**3, t.clamp(min=DELTA**3) ** (1 / 3), t / (3 * DELTA**2) + 4 / 29)
