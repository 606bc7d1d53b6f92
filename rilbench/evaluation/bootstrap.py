"""Confidence intervals. Images of one prompt are not independent, so prompts are resampled, not images."""

from __future__ import annotations

import torch
from torch import Tensor

from rilbench.randomness import generator_for


def interval(scores: Tensor, *, resamples: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of scores (prompts, images per prompt)."""
    means = scores.double().mean(1)
    rows = torch.randint(len(means), (resamples, len(means)), generator=generator_for("bootstrap"))
    low, high = torch.quantile(means[rows].mean(1), torch.tensor([0.5 - level / 2, 0.5 + level / 2]).double())
    return low.item(), high.item()
