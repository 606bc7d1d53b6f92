"""The statistics of a comparison: mean and interval of a few runs, the paired t test, Holm's correction."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

NAN = math.nan
LEVEL = 0.95
ALPHA = 0.05  # of a test that is called significant
ROUNDING = 1e-9  # relative spread that only rounding makes


@dataclass(frozen=True)
class Spread:
    """n values: their mean, the standard deviation between them (n - 1), and half the width of the 95 % interval of
    the mean by Student's t.

    NaN where n is too small. Values that are all equal say nothing about how much others would vary: sd is 0, half NaN.
    """

    n: int
    mean: float
    sd: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of the values that are not NaN."""
        known = [value for value in values if not math.isnan(value)]
        n = len(known)
        if n < 2:
            return cls(n, known[0] if known else NAN, NAN, NAN)
        sd = statistics.stdev(known)
        if sd <= ROUNDING * max(map(abs, known)):
            return cls(n, statistics.fmean(known), 0.0, NAN)
        quantile = float(stdtrit(n - 1, (1 + LEVEL) / 2))
        return cls(n, statistics.fmean(known), sd, quantile * sd / math.sqrt(n))

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half


def paired_p(differences: Sequence[float]) -> float:
    """Two-sided p of Student's paired t test that the mean difference is 0.

    NaN, so no test, for fewer than two differences and for differences that are all equal: t divides by their spread.
    """
    spread = Spread.of(differences)
    if spread.n < 2 or spread.sd == 0:
        return NAN
    t = spread.mean / (spread.sd / math.sqrt(spread.n))
    return float(2 * stdtr(spread.n - 1, -abs(t)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment of a family of tests; NaN is no test and stays NaN."""
    tests = sorted((p, name) for name, p in p_values.items() if not math.isnan(p))
    adjusted, largest = dict(p_values), 0.0
    for i, (p, name) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - i) * p))
        adjusted[name] = largest
    return adjusted
