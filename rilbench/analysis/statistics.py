"""Means with their intervals, and paired tests with their correction: one definition for every table.

The seed is the unit: runs of one seed share stages, noise and prompts. A method's value of a seed is its mean over the
seed's orders, every distinct model once. ± and intervals are Student's 95 % over seeds; one seed gives none.

A difference pairs runs of the same order and seed, and averages them by seed. Two questions are asked of it:

* Training again, with other seeds, on these prompts: Student's paired t test over seeds.
* Other prompts too, of final values that are means of scores of single images: seeds x prompts as crossed random
  effects (`rilbench.analysis.crossed`).

p is corrected by Holm; the family is all tests of one quantity: every method in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from rilbench.analysis.crossed import LEVEL, ROUNDING, TEST, over_prompts
from rilbench.analysis.power import ALPHA, seeds_needed
from rilbench.store.tables import number

if TYPE_CHECKING:
    from rilbench.analysis.scores import Scores

NO_PAIR, ONE_SEED, EQUAL = "no pair", "one seed", "equal differences"  # why there is no test


class Spread(NamedTuple):
    """n values, of seeds: their mean, the standard deviation between them (n - 1) and the 95 % interval of the mean.

    NaN where n is too small. Values that are all equal say nothing about how much others would vary: sd is 0, the
    interval NaN.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of the values that are not NaN."""
        known = np.asarray(list(values), dtype=float)
        known = known[~np.isnan(known)]
        n = len(known)
        if n < 2:
            return cls(n, float(known[0]) if n else np.nan, *[np.nan] * 3)
        sd, half = _interval(n, known.std(ddof=1), np.abs(known).max())
        mean = float(known.mean())
        return cls(n, mean, float(sd), mean - float(half), mean + float(half))

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Spread:
        """Of a row of `means` or `differences`."""
        return cls(*(row[name] for name in cls._fields))

    @property
    def half(self) -> float:
        return self.high - self.mean

    def text(self, like: float, *, signed: bool = False) -> str:
        """Mean ± half the interval, with the decimals of `like`, or of the mean where that is NaN."""
        like = self.mean if math.isnan(like) else like
        sign = "+" if signed and self.mean > 0 else ""
        return f"{sign}{number(self.mean, like)}{'' if math.isnan(self.half) else f' ±{number(self.half, like)}'}"


def chance(p: float) -> str:
    """A p value; `-` for NaN, which means no test."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def per_seed(table: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """The value of every seed of each group, by [*keys, seed]: the mean over its distinct models, NaN left out.

    table: of quantities or stages; keys: columns, `label` among them.
    """
    known_first = table.iloc[table["value"].isna().to_numpy().argsort(kind="stable")]
    once = known_first.drop_duplicates([*keys, "seed", "model"])
    return once.groupby([*keys, "seed"], observed=True)["value"].mean()


def spreads(groups: pd.core.groupby.SeriesGroupBy) -> pd.DataFrame:
    """The columns of `Spread` for every group of values; NaN is left out."""
    found = groups.agg(n="count", mean="mean", sd="std", low="min", high="max")
    sd, half = _interval(found["n"], found["sd"], found[["low", "high"]].abs().max(axis=1))
    return found.assign(sd=sd, low=found["mean"] - half, high=found["mean"] + half)


def over_seeds(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The columns of `Spread` for every group of `per_seed`."""
    return spreads(per_seed(table, keys).groupby(level=list(keys), observed=True))


def means(table: pd.DataFrame, by: Sequence[str] = ("label",)) -> pd.DataFrame:
    """Over the seeds of each group of a quantity table: [quantity, *by, metric, n, mean, sd, low, high]."""
    return over_seeds(table, ["quantity", *by, "metric"]).reset_index()


def differences(table: pd.DataFrame, against: str = "rid", scores: Scores | None = None) -> pd.DataFrame:
    """Every other method minus one, for every quantity and metric of a quantity table.

    scores: of single prompts; with them final values are also tested over seeds x prompts.

    Columns: label, against, quantity, metric, matched (the orders and seeds both have), n (seeds), mean, sd, low, high,
    p, p_holm, significant, seeds_needed, untested (why there is no p; else empty); with scores also prompts,
    low_crossed, high_crossed, p_crossed, p_crossed_holm, significant_crossed, NaN where there is no such test.
    """
    pairs = _paired(table, against)
    once = pairs.drop_duplicates([*TEST, "seed", "model", "model_against"])
    seeds = once.groupby([*TEST, "seed"], observed=True)["value"].mean()
    found = spreads(seeds.groupby(level=TEST, observed=True))
    found = _corrected(found.assign(p=paired_p(found)), "")
    found["seeds_needed"] = seeds_needed(found["mean"], found["sd"])
    found["untested"] = np.select([found["n"] < 2, found["sd"] == 0], [ONE_SEED, EQUAL], "")
    found.insert(0, "matched", pairs.groupby(TEST, observed=True).size())
    found.insert(0, "against", against)
    if scores is not None:
        found = found.join(_corrected(over_prompts(once, scores), "_crossed"))
    wanted = table.loc[table["label"] != against, TEST].drop_duplicates().sort_values(TEST)
    rows = wanted.merge(found.reset_index(), on=TEST, how="left")  # also methods that share no order and seed with it
    return rows.fillna({"against": against, "matched": 0, "n": 0, "significant": False, "untested": NO_PAIR})


def paired_p(found: pd.DataFrame) -> pd.Series:
    """Two-sided p of Student's paired t test that each mean difference is 0.

    NaN, so no test, for fewer than two differences and for differences that are all equal: t divides by their spread.
    """
    t = found["mean"] / (found["sd"] / np.sqrt(found["n"])).mask(found["sd"] == 0)
    return 2 * stdtr(found["n"] - 1, -t.abs())


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down adjustment of a family of tests; NaN means no test and stays NaN."""
    tests = p.dropna().sort_values()
    steps = np.arange(len(tests), 0, -1)
    return (tests * steps).clip(upper=1.0).cummax().reindex(p.index)


def _interval(n: Any, sd: Any, largest: Any) -> tuple[Any, Any]:
    """The standard deviation, 0 where only rounding makes it, and half the width of the interval, NaN there."""
    equal = sd <= ROUNDING * largest
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * sd / np.sqrt(n)
    return np.where(equal, 0.0, sd), np.where(equal, np.nan, half)


def _paired(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """A row for every order and seed in which both methods have a value; `value` is the difference."""
    case = ["order", "seed", "quantity", "metric"]
    own = table["label"] == against
    pairs = table[~own].merge(table[own], on=case, suffixes=("", "_against"))
    pairs["value"] -= pairs["value_against"]
    return pairs[pairs["value"].notna()]


def _corrected(found: pd.DataFrame, kind: str) -> pd.DataFrame:
    """With p corrected over all tests of a quantity."""
    found[f"p{kind}_holm"] = found.groupby(level="quantity", observed=True)[f"p{kind}"].transform(holm)
    return found.assign(**{f"significant{kind}": found[f"p{kind}_holm"] < ALPHA})
