"""The preference rules of the world: what two groups of raters find beautiful, and which image users prefer.

All are functions of the scene, so that the reward models trained on them can be compared with the truth.
Raters and users disagree on purpose: raters love vivid colour, gradients and shadows, users want the right content,
bright and free of noise, and dislike strong colour and shadows. So training on one of these rewards lowers the other
even where nothing was learned before. Calm raters have no taste that users oppose: what their reward loses in a later
stage was forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rilbench_shapes.world import CONTENT, Scenes

RATING_NOISE = 0.3
PREFERENCE_NOISE = 0.1
TIE = 0.15  # pairs closer than this in utility, noise included, are not recorded as preferences


def rating(scenes: Scenes) -> Tensor:
    """Noise-free aesthetic rating (B,), about 1 to 10, higher is better."""
    colour = 2.0 * (scenes.saturation - 0.65) / 0.35
    light = 0.8 * scenes.gradient / 0.6 + 0.9 * scenes.shadow / 0.6
    faults = 0.6 * scenes.blur / 1.2 + 1.4 * scenes.grain / 0.1
    return 5.0 + colour + light - faults


def calm_rating(scenes: Scenes) -> Tensor:
    """Noise-free rating (B,) of calm raters, about 1 to 8: bright, clean and with a gradient, of whatever colour."""
    light = 1.2 * (scenes.brightness - 0.75) / 0.25 + 1.2 * scenes.gradient / 0.6
    faults = 0.6 * scenes.blur / 1.2 + 1.4 * scenes.grain / 0.1
    return 5.0 + light - faults


RATINGS: dict[str, Callable[[Scenes], Tensor]] = {"aesthetic": rating, "aesthetic_calm": calm_rating}  # by head


def utility(scenes: Scenes, wanted: Scenes) -> Tensor:
    """How well scenes (B,) serve a user who asked for the content of `wanted`, about -2 to 2."""
    hits = [(getattr(scenes, name) == getattr(wanted, name)).float() for name in CONTENT]
    content = torch.stack(hits).mean(0)
    quality = (scenes.brightness - 0.75) / 0.25 - (scenes.saturation - 0.65) / 0.35
    faults = scenes.grain / 0.1 + 0.5 * scenes.blur / 1.2 + 0.5 * scenes.shadow / 0.6
    return 2.0 * content + 0.5 * quality - 0.6 * faults
