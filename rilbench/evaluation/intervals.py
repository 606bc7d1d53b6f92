"""Confidence intervals. Images of one prompt are not independent, so the prompt is the unit, not the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import stdtrit  # scipy.stats takes most of a second to import
from torch import Tensor

FEW = 30  # prompts, below which coverage of skewed scores is not reliable


def interval(scores: Tensor, *, groups: Sequence[int] | None = None) -> tuple[float, float] | None:
    """95 % interval of the mean of scores (prompts, images per prompt), corrected for their skewness.

    groups: a number for each prompt, 0 to G - 1; the prompts of a group are one observation. By default every prompt
    is its own group.

    The interval is Student's, with the statistic transformed to remove its skewness: near the limit of a bounded metric
    an interval that is symmetric around the mean covers too little. It never leaves the range of the groups' means, so
    a bounded metric has limits within its bounds. `benchmarks/coverage_prompts.py` measures the coverage.

    None for a single group, and if all prompts have the same score, which says nothing about other prompts.

    Source: Hall, On the removal of skewness by transformation (1992), the cubic transformation.
    """
    means = scores.double().mean(1)
    index = torch.arange(len(means)) if groups is None else torch.tensor(groups)
    if int(index.max()) < 1 or means.min() == means.max():
        return None
    sums, sizes = (_by_group(x, index) for x in (means, torch.ones_like(means)))
    mean, each = means.mean(), sums / sizes
    low, high = limits(mean.item(), ((sums - mean * sizes) / sizes.mean()).numpy())
    return max(low, each.min().item()), min(high, each.max().item())


def limits(value: float, influences: np.ndarray) -> tuple[float, float]:
    """95 % limits of a value whose error is the mean of independent influences (G,), G >= 2, that sum to 0.

    Those of a mean are the observations less their mean.
    """
    count = len(influences)
    error = influences.std(ddof=1) / count**0.5
    if not error:
        return value, value
    skewness = (influences**3).mean() / influences.std() ** 3 / count**0.5
    reach = stdtrit(count - 1, 0.975)
    return float(value - error * _skewed(reach, skewness)), float(value - error * _skewed(-reach, skewness))


def _skewed(x: float, skewness: float) -> float:
    """The t statistic whose transformation T + g T^2 / 3 + g^2 T^3 / 27 + g / 6 is x; g = skewness / sqrt(count)."""
    if abs(skewness) < 1e-6:
        return x
    return float(3 / skewness * (np.cbrt(1 + skewness * (x - skewness / 6)) - 1))


def _by_group(values: Tensor, index: Tensor) -> Tensor:
    return values.new_zeros(int(index.max()) + 1).index_add_(0, index, values)
