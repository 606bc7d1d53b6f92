"""Whether two strategies differ in a quantity.

Compared are runs of the same order and seed; pairs that share a model are averaged, for they are one observation. The
test is Student's paired t over these differences. It asks what training again, with other seeds and orders, would give.

Final values of metrics that score single images are tested over prompts too: the value of a prompt is the mean over its
images and over the matched runs. That asks whether these trained models differ on prompts like these, and says nothing
about training again. p is corrected by Holm over the metrics of one pair of strategies, for each of both tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rilbench.analysis.pairs import Pair, independent_pairs, mean_differences
from rilbench.analysis.quantities import Quantity, value
from rilbench.analysis.scores import prompt_means
from rilbench.analysis.statistics import ALPHA, Spread, holm, paired_p
from rilbench.contracts.result import RunResult

Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]  # run -> metric -> (P,)


@dataclass(frozen=True)
class Paired:
    """A paired t test: the differences, p, and p after Holm's correction over the metrics."""

    spread: Spread
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """p < 0.05 after the correction; not for NaN."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Difference:
    """A quantity of `label` minus that of `against` in one metric.

    runs: the test over independent pairs of models, `runs.spread.n` of them; matched: the pairs of runs these are made
    of; prompts: the test over prompts, None without scores of single images.
    """

    label: str
    against: str
    quantity: Quantity
    metric: str
    matched: int
    runs: Paired
    prompts: Paired | None = None


def differences(runs: Sequence[RunResult], against: str, columns: Mapping[Quantity, Sequence[str]]) -> list[Difference]:
    """Every other strategy against one, in every metric of every quantity."""
    scores = {run.name: prompt_means(run) for run in runs} if Quantity.FINAL in columns else {}
    others = dict.fromkeys(run.label for run in runs if run.label != against)
    return [
        difference
        for quantity, metrics in columns.items()
        for other in others
        for difference in _of_pair(runs, scores, other, against, quantity, metrics)
    ]


def _of_pair(
    runs: Sequence[RunResult], scores: Scores, one: str, two: str, quantity: Quantity, metrics: Sequence[str]
) -> list[Difference]:
    groups = independent_pairs(runs, one, two)
    of = {metric: partial(value, quantity=quantity, column=metric) for metric in metrics}
    by_runs = _family({metric: mean_differences(groups, of[metric]) for metric in metrics})
    by_prompts: dict[str, Paired] = {}
    if quantity is Quantity.FINAL:
        samples = {metric: _over_prompts(groups, scores, metric) for metric in metrics}
        by_prompts = _family({metric: sample for metric, sample in samples.items() if sample})
    known = {m: sum(not math.isnan(of[m](a) - of[m](b)) for group in groups for a, b in group) for m in metrics}
    return [Difference(one, two, quantity, m, known[m], by_runs[m], by_prompts.get(m)) for m in metrics]


def _family(samples: Mapping[str, Sequence[float]]) -> dict[str, Paired]:
    """One test a metric, corrected together."""
    p = {metric: paired_p(sample) for metric, sample in samples.items()}
    adjusted = holm(p)
    return {metric: Paired(Spread.of(sample), p[metric], adjusted[metric]) for metric, sample in samples.items()}


def _over_prompts(groups: Sequence[Sequence[Pair]], scores: Scores, metric: str) -> list[float]:
    """The difference of every prompt; empty unless every matched run scored the same number of prompts."""
    scored = [[scores[run.name].get(metric) for pair in group for run in pair] for group in groups]
    known = [[means for means in group if means is not None] for group in scored]
    sizes = {len(means) for group in known for means in group}
    if len(sizes) != 1 or list(map(len, known)) != list(map(len, scored)):
        return []
    stacked = [np.stack(group) for group in known]  # (2 x pairs, P) each, a pair's two runs one after the other
    return [float(d) for d in np.mean([(group[0::2] - group[1::2]).mean(0) for group in stacked], axis=0)]
