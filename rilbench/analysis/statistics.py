"""Means with their intervals, and the paired test with its correction: one definition for every table.

± and intervals are Student's 95 %. Runs that are the same model count once.

A difference pairs runs of the same order and seed; pairs that share a model are one observation, and are averaged. The
test is Student's paired t over these observations. It asks what training again, with other seeds and orders, would
give. p is corrected by Holm; the family is all tests of one quantity: every method in every metric.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from rilbench.store.tables import number

if TYPE_CHECKING:
    from rilbench.analysis.table import Scores

LEVEL = 0.95
ALPHA = 0.05  # of a test that is called significant
ROUNDING = 1e-9  # relative spread that only rounding makes
TEST = ["quantity", "label", "metric"]


class Spread(NamedTuple):
    """n values: their mean, the standard deviation between them (n - 1) and the 95 % interval of the mean.

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


def spreads(groups: pd.core.groupby.SeriesGroupBy) -> pd.DataFrame:
    """The columns of `Spread` for every group of values; NaN is left out."""
    found = groups.agg(n="count", mean="mean", sd="std", low="min", high="max")
    sd, half = _interval(found["n"], found["sd"], found[["low", "high"]].abs().max(axis=1))
    return found.assign(sd=sd, low=found["mean"] - half, high=found["mean"] + half)


def _interval(n: Any, sd: Any, largest: Any) -> tuple[Any, Any]:
    """The standard deviation, 0 where only rounding makes it, and half the width of the interval, NaN there."""
    equal = sd <= ROUNDING * largest
    half = stdtrit(n - 1, (1 + LEVEL) / 2) * sd / np.sqrt(n)
    return np.where(equal, 0.0, sd), np.where(equal, np.nan, half)


def means(table: pd.DataFrame, by: Sequence[str] = ("label",)) -> pd.DataFrame:
    """Over the models of each group of a quantity table: [quantity, *by, metric, n, mean, sd, low, high]."""
    keys = ["quantity", *by, "metric"]
    once = table.drop_duplicates([*dict.fromkeys([*keys, "label"]), "model"])
    return spreads(once.groupby(keys, observed=True)["value"]).reset_index()


def differences(
    table: pd.DataFrame, against: str = "rid", over: str = "run", scores: Scores | None = None
) -> pd.DataFrame:
    """Every other method minus one, for every quantity and metric of a quantity table.

    over: what is one observation: a pair of runs, or all pairs of an `order` or a `seed`. scores: of single prompts;
    with them final values are tested over prompts too, a prompt's value being the mean over its images and the pairs.
    That asks whether these trained models differ on prompts like these, and says nothing about training again.

    Columns: label, against, quantity, metric, matched (pairs of runs), n, mean, sd, low, high, p, p_holm, significant;
    with scores also prompts, p_prompts, p_prompts_holm, significant_prompts, NaN where there is no such test.
    """
    pairs = _paired(table, against, over)
    samples = pairs.groupby([*TEST, "group"], observed=True)["value"].mean()
    found = _tested(spreads(samples.groupby(level=TEST, observed=True)))
    found.insert(0, "matched", pairs.groupby(TEST, observed=True)["value"].count())
    found.insert(0, "against", against)
    if scores is not None:
        over_prompts = _tested(spreads(_over_prompts(pairs, scores).groupby(level=TEST, observed=True)))
        names = {"n": "prompts", "p": "p_prompts", "p_holm": "p_prompts_holm", "significant": "significant_prompts"}
        found = found.join(over_prompts[list(names)].rename(columns=names))
    wanted = table.loc[table["label"] != against, TEST].drop_duplicates().sort_values(TEST)
    rows = wanted.merge(found.reset_index(), on=TEST, how="left")  # also methods that share no order and seed with it
    return rows.fillna({"against": against, "matched": 0, "n": 0, "significant": False})


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


def _paired(table: pd.DataFrame, against: str, over: str) -> pd.DataFrame:
    """A row for every pair of runs and metric: `value` is the difference, `group` the observation it is part of."""
    case = ["order", "seed", "quantity", "metric"]
    own = table["label"] == against
    pairs = table[~own].merge(table[own], on=case, suffixes=("", "_against"))
    pairs["value"] -= pairs["value_against"]
    runs = pairs.drop_duplicates(["label", "run"])
    units = [["label", "model"], ["label", "model_against"], *([["label", over]] if over != "run" else [])]
    return pairs.merge(runs[["label", "run"]].assign(group=_joined(runs, units)), on=["label", "run"])


def _joined(rows: pd.DataFrame, units: Sequence[Sequence[str]]) -> pd.Series:
    """A number for every row, the same for rows that agree in a unit, directly or through others."""
    group = pd.Series(np.arange(len(rows)), index=rows.index)
    while True:
        before = group
        for unit in units:
            group = group.groupby([rows[name] for name in unit], observed=True).transform("min")
        if group.equals(before):
            return group


def _tested(found: pd.DataFrame) -> pd.DataFrame:
    """With p, and p corrected over all tests of a quantity."""
    found = found.assign(p=paired_p(found))
    found["p_holm"] = found.groupby(level="quantity", observed=True)["p"].transform(holm)
    return found.assign(significant=found["p_holm"] < ALPHA)


def _over_prompts(pairs: pd.DataFrame, scores: Scores) -> pd.Series:
    """The difference of every prompt, where every matched run scored the same number of prompts."""
    none = pd.Series(dtype=float, index=pd.MultiIndex.from_tuples([], names=TEST))
    found: dict[Any, pd.Series] = {}
    for key, own in pairs[pairs["quantity"] == "final"].groupby(TEST, observed=True):
        sides = [[scores[name].get(key[2]) for name in own[run]] for run in ("run", "run_against")]
        known = [[means for means in side if means is not None] for side in sides]
        if [*map(len, known)] == [*map(len, sides)] and len({len(means) for side in known for means in side}) == 1:
            gaps = pd.DataFrame(np.stack(known[0]) - np.stack(known[1]))  # (pairs, P)
            found[key] = gaps.groupby(own["group"].to_numpy()).mean().mean()
    return pd.concat(found, names=TEST) if found else none
