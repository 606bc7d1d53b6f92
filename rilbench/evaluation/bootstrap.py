"""Confidence intervals. Images of one prompt are not independent, so prompts are resampled, not images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench.model.randomness import generator_for

AT_ONCE = 4_000_000  # observations that are drawn at a time, 32 MB a tensor


def interval(
    scores: Tensor, *, groups: Sequence[int] | None = None, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of scores (prompts, images per prompt).

    groups: a number for each prompt, 0 to G - 1; the prompts of a group are one observation, and groups are resampled.
    By default every prompt is its own group.

    None for a single group, and if all prompts have the same score, which says nothing about other prompts.
    """
    means = scores.double().mean(1)
    index = torch.arange(len(means)) if groups is None else torch.tensor(groups)
    count = int(index.max()) + 1
    if count < 2 or means.min() == means.max():
        return None
    sums, sizes = (torch.zeros(count).double().index_add_(0, index, x) for x in (means, torch.ones_like(means)))
    generator, parts = generator_for("bootstrap"), []
    part = max(1, AT_ONCE // count)
    for start in range(0, resamples, part):  # the numbers of one draw, in parts
        rows = torch.randint(count, (min(part, resamples - start), count), generator=generator)
        parts.append(sums[rows].sum(1) / sizes[rows].sum(1))
    resampled = torch.cat(parts)
    low, high = torch.quantile(resampled, torch.tensor([0.5 - level / 2, 0.5 + level / 2]).double())
    return low.item(), high.item()
