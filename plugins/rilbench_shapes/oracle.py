"""The oracle: a metric that uses the renderer to decide whether an image shows what its caption says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench import ConfigError, MeanMetric
from rilbench_shapes import captions
from rilbench_shapes.analysis import read
from rilbench_shapes.world import CONTENT, RESOLUTION


def agreement(images: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
    """For each attribute of `CONTENT`, whether (B,) the image shows what the caption says.

    images: (B, 3, 32, 32) in [0, 1]. ConfigError for other sizes and for prompts that are not captions of the world.
    """
    if images.shape[-2:] != (RESOLUTION, RESOLUTION):
        raise ConfigError(f"metric oracle: supports only {RESOLUTION} x {RESOLUTION} images of `shapes`")
    wanted = captions.contents(prompts, "metric oracle")
    found = read(images)
    return {name: found[name] == wanted[name] for name in CONTENT}


class Oracle(MeanMetric):
    """Share of the caption's five attributes (shape, size, colour, place, background) that the image shows, in %."""

    higher_is_better = True
    unit = "%"

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return 100 * torch.stack(list(agreement(images, prompts).values())).float().mean(0)
