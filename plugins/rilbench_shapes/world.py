"""The vocabulary of the world and its scenes: what a caption fixes, and the style it leaves free."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

SHAPES = ("circle", "square", "triangle", "cross", "ring")
SIZES = ("small", "large")
PLACES = ("in the middle", "at the left", "at the right", "at the top", "at the bottom")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "purple", "white", "black")

RESOLUTION = 32  # pixels a side; all lengths below are pixels at this resolution
RADIUS = (5.5, 9.0)  # of each size
CENTRE = ((16.0, 16.0), (9.5, 16.0), (22.5, 16.0), (16.0, 9.5), (16.0, 22.5))  # (x, y) of each place
PALETTE = (
    (0.92, 0.10, 0.10),
    (0.96, 0.88, 0.08),
    (0.10, 0.72, 0.16),
    (0.08, 0.80, 0.86),
    (0.12, 0.22, 0.92),
    (0.72, 0.16, 0.82),
    (0.97, 0.97, 0.97),
    (0.05, 0.05, 0.05),
)

CONTENT = {"shape": SHAPES, "size": SIZES, "colour": COLOURS, "place": PLACES, "background": COLOURS}

# style name -> (lowest, highest, share of scenes drawn from the range; the others stay at the lowest)
STYLE = {
    "saturation": (0.3, 1.0, 1.0),
    "brightness": (0.5, 1.0, 1.0),
    "gradient": (0.0, 0.6, 0.6),
    "shadow": (0.0, 0.6, 0.6),
    "blur": (0.0, 1.2, 0.5),
    "grain": (0.0, 0.1, 0.5),
}
# style name -> (low word, used below this value), (high word, used above this value)
STYLE_WORDS = {
    "saturation": (("pale", 0.5), ("vivid", 0.8)),
    "brightness": (("dark", 0.66), ("bright", 0.84)),
    "gradient": (("flat", 0.1), ("gradient", 0.3)),
    "shadow": (("shadowless", 0.1), ("shadowed", 0.3)),
    "blur": (("sharp", 0.2), ("blurry", 0.6)),
    "grain": (("clean", 0.015), ("grainy", 0.05)),
}


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """B scenes as columns.

    Content columns are (B,) long indices into the tuples of `CONTENT`; style columns are (B,) floats in the
    ranges of `STYLE`; `dx`, `dy` (pixels) and `scale` (factor) jitter the shape.
    """

    shape: Tensor
    size: Tensor
    colour: Tensor
    place: Tensor
    background: Tensor
    saturation: Tensor
    brightness: Tensor
    gradient: Tensor
    shadow: Tensor
    blur: Tensor
    grain: Tensor
    dx: Tensor
    dy: Tensor
    scale: Tensor

    def __len__(self) -> int:
        return self.shape.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Scenes:
        return Scenes(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def sample_content(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Content columns of n scenes, uniform, with background and shape of different colours."""
    draw = {name: torch.randint(len(words), (n,), generator=generator) for name, words in CONTENT.items()}
    shift = torch.randint(1, len(COLOURS), (n,), generator=generator)
    draw["background"] = (draw["colour"] + shift) % len(COLOURS)
    return draw


def sample_style(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Style and jitter columns of n scenes."""
    columns = {}
    for name, (low, high, share) in STYLE.items():
        used = torch.rand(n, generator=generator) < share
        columns[name] = low + (high - low) * torch.rand(n, generator=generator) * used
    columns["dx"], columns["dy"] = 2.5 * torch.rand(2, n, generator=generator) - 1.25
    columns["scale"] = 0.9 + 0.2 * torch.rand(n, generator=generator)
    return columns


def sample_scenes(n: int, generator: torch.Generator) -> Scenes:
    """n independent scenes."""
    return Scenes(**sample_content(n, generator), **sample_style(n, generator))
