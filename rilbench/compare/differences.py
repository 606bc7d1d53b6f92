"""Whether the final values of two strategies differ.

Compared are runs of the same order and seed. For a metric that scores single images, prompts are the sample: the value
of a prompt is the mean over its images and over the matched runs, and Student's paired t test is taken over prompts.
So it asks whether these trained models differ on prompts like these; it says nothing about training again with other
seeds. For a metric without scores of images (FID), and for runs whose scores are not on this disk (a tracking
server's), the matched runs are the sample. p is corrected by Holm over the metrics of one pair of strategies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rilbench.compare.groups import model_of
from rilbench.compare.quantities import Quantity, columns, value
from rilbench.compare.scores import prompt_means
from rilbench.compare.statistics import Spread, holm, paired_p
from rilbench.result import RunResult

ALPHA = 0.05
Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]  # run -> metric -> (P,)


@dataclass(frozen=True)
class Difference:
    """Final value of `label` minus that of `against` in one metric.

    spread: of the paired differences, `spread.n` prompts or runs; over: which of them; runs: matched runs.
    """

    label: str
    against: str
    metric: str
    spread: Spread
    over: str
    runs: int
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """p < 0.05 after Holm's correction; not for NaN."""
        return self.p_holm < ALPHA


def differences(runs: Sequence[RunResult], against: str) -> list[Difference]:
    """Every other strategy against one, in every metric."""
    scores = {run.name: prompt_means(run) for run in runs}
    others = dict.fromkeys(run.label for run in runs if run.label != against)
    return [difference for other in others for difference in _of_pair(runs, scores, other, against)]


def matched(runs: Sequence[RunResult], one: str, two: str) -> list[tuple[RunResult, RunResult]]:
    """The pairs of runs of two strategies with the same order and seed; a pair of the same two models counts once."""
    partners = {(run.rewards, run.seed): run for run in runs if run.label == two}
    own = [run for run in runs if run.label == one and (run.rewards, run.seed) in partners]
    pairs = [(run, partners[run.rewards, run.seed]) for run in own]
    return list({(model_of(left), model_of(right)): (left, right) for left, right in reversed(pairs)}.values())[::-1]


def _of_pair(runs: Sequence[RunResult], scores: Scores, one: str, two: str) -> list[Difference]:
    pairs, found = matched(runs, one, two), []
    for info in columns(runs, Quantity.FINAL):
        over, sample = _sample(pairs, scores, info.name)
        p = paired_p(sample)
        found.append(Difference(one, two, info.name, Spread.of(sample), over, len(pairs), p, p))
    adjusted = holm({difference.metric: difference.p for difference in found})
    return [replace(difference, p_holm=adjusted[difference.metric]) for difference in found]


def _sample(pairs: Sequence[tuple[RunResult, RunResult]], scores: Scores, metric: str) -> tuple[str, list[float]]:
    """What is tested, and its paired differences: of prompts when every run scored the same number of them."""
    by_prompt = [scores[run.name].get(metric) for pair in pairs for run in pair]
    known = [means for means in by_prompt if means is not None]
    if known and len(known) == len(by_prompt) and len({len(means) for means in known}) == 1:
        stacked = np.stack(known)  # (2 x pairs, P), a pair's two runs one after the other
        return "prompts", [float(d) for d in (stacked[0::2] - stacked[1::2]).mean(0)]
    gains = [value(one, Quantity.FINAL, metric) - value(two, Quantity.FINAL, metric) for one, two in pairs]
    return "runs", gains
