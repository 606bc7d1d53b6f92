"""The randomness policy: every draw comes from its own CPU generator, keyed by what it is for.

Nothing draws from a global generator, so results depend on neither the order of the work, the batch size of an
evaluation, the device, nor what ran before. Keys in use:

    ("init", seed, stage)               initial adapter pair of a stage
    ("train", seed, stage, sample)      prompt and initial noise of a training sample
    ("evaluation", seed, prompt, image) initial noise of one evaluation image
    ("training prompts", seed)          which training prompts are also measured
    ("validation", prompt, image)       initial noise of one validation image, the same for every stage and seed
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator_for(*key: str | int) -> torch.Generator:
    """The CPU generator of a key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def evaluation_noise(seed: int, prompt: str, images: range, shape: tuple[int, ...]) -> Tensor:
    """Initial noise (len(images), *shape) of images of one prompt; a function of (seed, prompt, image index) only."""
    return torch.stack([torch.randn(shape, generator=generator_for("evaluation", seed, prompt, i)) for i in images])


def validation_noise(seed: int, prompt: str, images: range, shape: tuple[int, ...]) -> Tensor:
    """The same of validation images, which depends on no seed: (prompt, image index) only."""
    return torch.stack([torch.randn(shape, generator=generator_for("validation", prompt, i)) for i in images])
