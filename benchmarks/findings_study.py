"""A recorded study by method and seed: what is measured of a run, and differences between methods."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import record
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from rilbench.analysis.crossed import LEVEL, crossed
from rilbench.analysis.power import seeds_needed
from rilbench.analysis.statistics import Spread
from rilbench.analysis.table import model_of
from rilbench.analysis.units import REFERENCE, SINGLE, UNITS, Units
from rilbench.contracts.result import RunResult

Values = NDArray[np.float64]  # (P,) of prompts, or () of a metric that scores no single image
Measure = Callable[[RunResult], Values]
BySeed = Mapping[int, Values]
Case = tuple[tuple[str, ...], int]  # order and seed
POINTS = {  # of the methods whose drift is set by one number; from little to much
    "baseline": ("baseline-low", "baseline", "baseline-high"),
    "baseline-plain": ("baseline-plain",),
    "joint": ("joint-low", "joint", "joint-high"),
    "soup": ("soup", "soup-x2"),
}
SEQUENCES = ("rid", *POINTS["baseline"], "baseline-plain")
MAIN = ("rid", *(label for points in POINTS.values() for label in points))
GENERAL = ("structure", "attributes", "oracle", "fid", "fid_inf", "kid", "clip_score", "diversity")


class Effect(NamedTuple):
    """The mean over seeds of a value or a difference, 95 % interval and two-sided p.

    Of values of single prompts, seeds and prompts are both drawn at random (`rilbench.analysis.crossed`); of others,
    Student's t over seeds. NaN where there is no such number, as of one seed.
    """

    seeds: int
    prompts: int
    mean: float
    low: float
    high: float
    p: float
    sd: float

    @classmethod
    def of(cls, values: BySeed) -> Effect:
        known = [value for value in values.values() if not np.isnan(value).any()]
        spread = Spread.of(float(value.mean()) for value in known)
        if known and known[0].ndim:
            return cls(spread.n, len(known[0]), spread.mean, *crossed(np.stack(known)), spread.sd)
        t = -abs(spread.mean) * math.sqrt(spread.n) / spread.sd if spread.sd else math.nan
        p = float(2 * stdtr(spread.n - 1, t)) if spread.n > 1 else math.nan
        return cls(spread.n, 0, spread.mean, spread.low, spread.high, p, spread.sd)

    @classmethod
    def jackknife(cls, mean: float, without: Sequence[float]) -> Effect:
        """Of an estimate, and those that leave out one seed each; none for a single seed."""
        n = len(without)
        if n < 2 or not np.isfinite([mean, *without]).all():
            return cls(max(n, 1), 0, mean, *[math.nan] * 4)
        error = math.sqrt((n - 1) * np.var(without))
        half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
        p = float(2 * stdtr(n - 1, -abs(mean) / error)) if error else math.nan
        return cls(n, 0, mean, mean - half, mean + half, p, error * math.sqrt(n))

    @property
    def needed(self) -> float:
        """With how many seeds a difference of this size is found in 80 % of studies."""
        return float(seeds_needed(self.mean, self.sd))


class Study:
    """The runs of a record. Values of a seed are means over the distinct models of its orders."""

    def __init__(self, source: record.Record) -> None:
        self.record = source
        self.runs = sorted(
            _once(source.runs), key=lambda run: (run.label not in MAIN, run.label, run.rewards, run.seed)
        )
        names = {run.label for run in self.runs}
        self.labels = [label for label in MAIN if label in names]
        self.others = sorted(names - set(MAIN))
        trained = {reward for run in self.runs for reward in run.matrix.trained_rewards()}
        self.units = Units.of(self.runs)
        self.rewards = [name for name in self.metrics if name in trained]

    @cached_property
    def general(self) -> list[str]:
        """The general metrics that were measured, in the order of GENERAL."""
        return [name for name in GENERAL if name in self.metrics]

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that every run of the study has, ablations aside."""
        runs = [run for run in self.runs if run.label in self.labels] or self.runs
        every = [[info.name for info in run.matrix.shown] for run in runs]
        return [name for name in every[0] if all(name in names for names in every)]

    @cached_property
    def stages(self) -> int:
        """How many stages every sequence has."""
        return min((len(run.matrix.rows) - 1 for run in self.runs if run.label in SEQUENCES), default=0)

    def of(self, label: str) -> list[RunResult]:
        return [run for run in self.runs if run.label == label]

    def better(self, metric: str) -> int:
        """1 if higher is better, -1 if lower is."""
        info = next(info for info in self.runs[0].matrix.metrics if info.name == metric)
        return 1 if info.higher_is_better else -1

    def unit(self, measure: str) -> str:
        """Of a measure, by its name: that of an aggregate, of drift, or of a metric."""
        metric, _, aggregate = measure.partition(", ")
        infos = {info.name: info.unit or "score" for info in self.runs[0].matrix.metrics}
        if measure.startswith("drift"):
            return "1 - SSIM"
        return aggregate if aggregate in UNITS else infos[metric.partition(" ")[0]]

    def size(self, unit: str, reward: str) -> float:
        """Of a unit, in the reward's own scale; NaN if it has none, as a single gain without runs of the reference."""
        known = unit != SINGLE or REFERENCE in self.labels
        return self.units.size(self.runs[0], unit, reward) if known else math.nan

    def first_stage(self, label: str, reward: str, metric: str) -> BySeed:
        """The change of a metric by a first stage that trained a reward alone; positive is better."""
        first = [run for run in self.of(label) if run.matrix.rows[1].rewards == (reward,)]
        values = {run.seed: self.better(metric) * (self.at(run, metric, 1) - self.at(run, metric, 0)) for run in first}
        return dict(sorted(values.items()))

    def rises(self, measure: str) -> bool:
        """Whether a general metric is better when it is higher; drift is not."""
        return measure != "drift" and self.better(measure) > 0

    def at(self, run: RunResult, metric: str, stage: int) -> Values:
        """A metric after a stage: of every prompt, if it scores single images."""
        row = run.matrix.rows[stage]
        scores = self.record.scores[row.evaluation].get(metric)
        return np.asarray(row.values.get(metric, math.nan)) if scores is None else scores

    def final(self, metric: str) -> Measure:
        return lambda run: self.at(run, metric, -1)

    def drift(self, run: RunResult) -> Values:
        """1 minus the structural similarity to the images of the base model."""
        return 1 - self.at(run, "structure", -1)

    def left(self, reward: str) -> Measure:
        """The gain of a reward from the base model to the end; positive is better."""
        return lambda run: self.better(reward) * (self.at(run, reward, -1) - self.at(run, reward, 0))

    def learned(self, reward: str) -> Measure:
        """The gain of a reward from the base model to the stage that trained it."""
        return lambda run: (
            self.better(reward) * (self.at(run, reward, run.matrix.stage_of(reward)) - self.at(run, reward, 0))
        )

    def gain(self, unit: str) -> Measure:
        """What is left, the mean over the rewards in a unit."""
        return self._mean(self.left, unit)

    def gain_learned(self, unit: str) -> Measure:
        """What was learned, the mean over the rewards in a unit."""
        return self._mean(self.learned, unit)

    def forgetting(self, metric: str, stage: int = -1) -> Measure:
        """Eq. 3; NaN where tables mask it."""
        return lambda run: np.asarray(_forgetting(run, metric, stage % len(run.matrix.rows)))

    def growth(self, metric: str) -> Measure:
        """By how much forgetting grows from the first stage to the last of `stages`."""
        return lambda run: self.forgetting(metric, self.stages)(run) - self.forgetting(metric, 1)(run)

    def shared(self, labels: Sequence[str]) -> set[Case]:
        """The orders and seeds that all of these methods have."""
        return set.intersection(*({(run.rewards, run.seed) for run in self.of(label)} for label in labels))

    def by_seed(self, label: str, measure: Measure, stage: int = -1, cases: Collection[Case] | None = None) -> BySeed:
        """The value of every seed. stage: runs with the same model after it count once. cases: default all."""
        runs = [run for run in self.of(label) if cases is None or (run.rewards, run.seed) in cases]
        models = {(run.seed, model_of(run, stage)): run for run in runs}
        return averaged((run.seed, measure(run)) for run in models.values())

    def effect(self, label: str, measure: Measure, stage: int = -1) -> Effect:
        return Effect.of(self.by_seed(label, measure, stage))

    def spread(self, label: str, measure: Measure, stage: int = -1) -> Spread:
        """The mean of a method, with Student's interval over seeds."""
        return Spread.of(float(value.mean()) for value in self.by_seed(label, measure, stage).values())

    def minus(self, one: str, other: str, measure: Measure) -> Effect:
        """The difference of two methods, paired by order and seed; a pair of models counts once."""
        others = {(run.rewards, run.seed): run for run in self.of(other)}
        pairs = [(run, others[run.rewards, run.seed]) for run in self.of(one) if (run.rewards, run.seed) in others]
        models = {(a.seed, model_of(a), model_of(b)): (a, b) for a, b in pairs}
        return Effect.of(averaged((a.seed, measure(a) - measure(b)) for a, b in models.values()))

    def _mean(self, of: Callable[[str], Measure], unit: str) -> Measure:
        sizes = {reward: self.size(unit, reward) for reward in self.rewards}

        def measure(run: RunResult) -> Values:
            values = [of(reward)(run) / sizes[reward] for reward in run.matrix.trained_rewards()]
            return np.asarray(np.mean(values, axis=0))

        return measure


def _once(runs: Iterable[RunResult]) -> Iterable[RunResult]:
    """Runs of a label that end in the same stage for the same order and seed count once: two studies share them."""
    most = sorted(runs, key=lambda run: len(run.matrix.shown))
    return {(run.label, run.rewards, run.seed, run.matrix.rows[-1].stage_id): run for run in most}.values()


def averaged(values: Iterable[tuple[int, Values]]) -> BySeed:
    """The mean of every seed; values that are NaN are left out."""
    seeds: dict[int, list[Values]] = defaultdict(list)
    for seed, value in values:
        if not np.isnan(value).any():
            seeds[seed].append(value)
    return {seed: np.asarray(np.mean(own, axis=0)) for seed, own in sorted(seeds.items())}


def _forgetting(run: RunResult, metric: str, stage: int) -> float:
    return math.nan if run.matrix.masked(metric, stage) else run.matrix.forgetting(metric, stage)
