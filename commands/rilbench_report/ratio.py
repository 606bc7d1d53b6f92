"""The ratio of two paired means with Fieller's interval (E. C. Fieller, 1954)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.analysis.statistics import Spread


@dataclass(frozen=True)
class Ratio:
    """The interval holds every R for which Student's t test does not reject mean(y - R x) = 0 at 5 %; or NaN."""

    value: float
    low: float
    high: float


def ratio(pairs: Sequence[tuple[float, float]]) -> Ratio | None:
    """mean(y) / mean(x) of pairs (x, y); None unless mean(x) is above 0, and for certain where there are two pairs.

    Without an interval for a single pair, and where all x or all y are equal.
    """
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    x, y = Spread.of(xs), Spread.of(ys)
    if not x.n or not x.mean > 0 or x.low <= 0:
        return None
    value = y.mean / x.mean
    if math.isnan(x.half) or math.isnan(y.half):
        return Ratio(value, math.nan, math.nan)
    between = _correlated(xs, ys, x, y)  # half-widths as variances: t^2 times those of the means
    a, b, c = x.mean**2 - x.half**2, x.mean * y.mean - between, y.mean**2 - y.half**2
    root = math.sqrt(max(0.0, b**2 - a * c))  # of a R^2 - 2 b R + c = 0
    return Ratio(value, (b - root) / a, (b + root) / a)


def _correlated(xs: Sequence[float], ys: Sequence[float], x: Spread, y: Spread) -> float:
    """t^2 times the covariance of the two means."""
    return statistics.correlation(xs, ys) * x.half * y.half
