"""The two preference rules of the world: what raters find beautiful, and which image users prefer.

Both are functions of the scene, so that the reward models trained on them can be compared with the truth.
They disagree on purpose: raters love vivid colour, gradients and shadows, users want the right content, bright
and free of noise, and do not care for strong colour.
"""

from __future__ import annotations

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


def rate(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """One rater's rating (B,) of each scene."""
    return rating(scenes) + RATING_NOISE * torch.randn(len(scenes), generator=generator)


def utility(scenes: Scenes, wanted: Scenes) -> Tensor:
    """How well scenes (B,) serve a user who asked for the content of `wanted`, about -2 to 2."""
    hits = [(getattr(scenes, name) == getattr(wanted, name)).float() for name in CONTENT]
    content = torch.stack(hits).mean(0)
    quality = (scenes.brightness - 0.75) / 0.25 - (scenes.saturation - 0.65) / 0.35
    faults = scenes.grain / 0.1 + 0.5 * scenes.blur / 1.2 + 0.5 * scenes.shadow / 0.6
    return 2.0 * content + 0.5 * quality - 0.6 * faults
