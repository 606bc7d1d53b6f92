"""Calling a reward under test, and comparing what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from rilbench.contracts.components import Reward
from rilbench.testing.check import Subject

RewardSubject: TypeAlias = Subject[Reward]
BATCH = 4
LARGE = 17  # more than anybody scores at a time


def edges(subject: RewardSubject) -> dict[str, Tensor]:
    """Two black images and two white ones."""
    return {name: torch.full_like(subject.pictures(2), value) for name, value in (("black", 0.0), ("white", 1.0))}


def captions(subject: RewardSubject, n: int) -> list[str]:
    """The prompts of n images; from the ninth on they come again, as those of an evaluation do."""
    return [subject.prompts[i % len(subject.prompts)] for i in range(n)]


def score(subject: RewardSubject, images: Tensor, prompts: Sequence[str] | None = None) -> Tensor:
    """Scores (B,) of a copy of the images, for the first B prompts."""
    return subject.instance(images.clone(), list(prompts or captions(subject, len(images)))[: len(images)])


def scores_and_gradient(
    subject: RewardSubject, images: Tensor, prompts: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the gradient of their sum (B, 3, S, S)."""
    variable = images.clone().requires_grad_()
    scores = score(subject, variable, prompts)
    (gradient,) = torch.autograd.grad(scores.sum(), variable)
    return scores.detach(), gradient


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected value."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float64).tiny))


def rounding(subject: RewardSubject) -> float:
    """What another order of float32 sums may change, as a share of the largest score; more where TF32 is used."""
    return 1e-4 if subject.exact else 1e-3


def brief(values: Tensor) -> str:
    """The first few values for a message."""
    shown = ", ".join(f"{v:.6g}" for v in values.detach().flatten()[:4].tolist())
    return f"[{shown}{', ...' if values.numel() > 4 else ''}]"
