"""Estimates the cost of sampling and training on this machine from two timed forward passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rilbench.model.text_to_image import TextToImage

PROBE = 4  # images in a timed forward pass


@dataclass(frozen=True)
class Cost:
    """Seconds per image of one denoising step and of one decode; parameters of the frozen model."""

    denoise: float
    decode: float
    parameters: int

    def sampling(self, images: int, steps: int) -> float:
        """Seconds to generate images."""
        return images * (steps * self.denoise + self.decode)

    def training(self, samples: int, steps: int, last_steps: int) -> float:
        """Seconds to train on samples: the rollout, and three forward passes for each step with gradient."""
        return samples * ((steps + 2 * last_steps) * self.denoise + 3 * self.decode)


@torch.no_grad()
def measure(model: TextToImage, images: int = PROBE) -> Cost:
    """Time one denoising step and one decode of several images; NaN if not even one fits."""
    z = torch.zeros(images, *model.latent_shape, device=model.device)
    return Cost(
        denoise=_timed(lambda: model.rollout(z, [""] * images, stop=model.config.steps - 1), images),
        decode=_timed(lambda: model.decode(z[:, : model.backbone.channels]), images),
        parameters=sum(p.numel() for part in (model.network, model.vae) for p in part.parameters()),
    )


def _timed(call: Callable[[], Tensor], images: int) -> float:
    """Seconds per image."""
    if not images:
        return math.nan
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    call().sum().item()
    return (time.perf_counter() - start) / images
