"""Differences of seeds x prompts, both drawn at random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

if TYPE_CHECKING:
    from rilbench.analysis.scores import Scores

LEVEL = 0.95
ROUNDING = 1e-9  # relative spread that only rounding makes
TEST = ["quantity", "label", "metric"]


def crossed(cells: NDArray[np.float64]) -> tuple[float, float, float]:
    """95 % interval of the mean of differences (S, P) of seeds x prompts, both drawn at random, and two-sided p.

    The variance of the mean is (MS_seed + MS_prompt - MS_cell) / (S P) of the two-way analysis of variance, at least
    that of seeds alone and of prompts alone, with Satterthwaite's degrees of freedom (F. E. Satterthwaite, 1946). The
    interval is never narrower than Student's over seeds: with few seeds Satterthwaite's approximation is too narrow.

    NaN for fewer than two seeds or prompts, and where all seeds, or all prompts, have the same mean.
    """
    s, p = cells.shape
    if min(s, p) < 2:
        return math.nan, math.nan, math.nan
    seeds, prompts, mean = cells.mean(1), cells.mean(0), float(cells.mean())
    if min(np.ptp(seeds), np.ptp(prompts)) <= ROUNDING * np.abs(cells).max():
        return math.nan, math.nan, math.nan
    rest = cells - seeds[:, None] - prompts + mean
    freedom = np.array([s - 1, p - 1, (s - 1) * (p - 1)])
    squares = np.array([p * seeds.var(ddof=1), s * prompts.var(ddof=1), (rest**2).sum() / freedom[2]])  # MS
    total = max(squares[0] + squares[1] - squares[2], squares[0], squares[1])
    of_both = total**2 / (squares**2 / freedom).sum()
    errors = np.sqrt(np.array([total, squares[0]]) / (s * p))
    half = float((stdtrit([of_both, s - 1], (1 + LEVEL) / 2) * errors).max())
    return mean - half, mean + half, float(2 * stdtr([of_both, s - 1], -abs(mean) / errors).max())


def over_prompts(pairs: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """`crossed` of final values whose runs all scored the same number of prompts."""
    found: dict[Any, tuple[float, ...]] = {}
    for key, own in pairs[pairs["quantity"] == "final"].groupby(TEST, observed=True):
        sides = [[scores[name].get(key[2]) for name in own[run]] for run in ("run", "run_against")]
        known = [[values for values in side if values is not None] for side in sides]
        if [*map(len, known)] == [*map(len, sides)] and len({len(values) for side in known for values in side}) == 1:
            gaps = np.stack(known[0]) - np.stack(known[1])  # (pairs, P)
            seeds, index = np.unique(own["seed"], return_inverse=True)
            share = np.eye(len(seeds))[index]  # (pairs, S)
            found[key] = (gaps.shape[1], *crossed((share / share.sum(0)).T @ gaps))
    index = pd.MultiIndex.from_tuples([*found], names=TEST)
    return pd.DataFrame([*found.values()], index, ["prompts", "low_crossed", "high_crossed", "p_crossed"], dtype=float)
