"""What can be said of two methods that gain differently: drift at an equal gain, exchange rates between rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from findings_study import POINTS, Effect, Measure, Study, Values, averaged


@dataclass(frozen=True)
class Matched:
    """A method minus a family's front at the method's gain. reached: of the means that leave out one seed, in how many
    the front has that gain; the effect has no interval unless all have, and no mean if not even that of all seeds has,
    or if the method gains nothing. gain: the method's own.
    """

    reached: int
    gain: float
    effect: Effect


def matched(study: Study, label: str, family: str, gain: Measure, measure: Measure) -> Matched:
    """The difference of a measure at the gain of `label`, of the means over the orders and seeds that all have.

    The front of a family goes in straight lines from the base model through its points, from little to much; its place
    is where it drifts least of all that gain as much. The interval is that of the jackknife over seeds: a front that is
    matched in every seed by itself leaves out those in which it falls short, and its interval is too narrow.
    """
    points = [point for point in POINTS[family] if point in study.labels]
    cases = study.shared([*points, label])
    places = [[study.by_seed(n, of, cases=cases) for of in (gain, measure, study.drift)] for n in (*points, label)]
    seeds = [seed for seed in places[-1][0] if points and all(seed in values for place in places for values in place)]
    known = np.array([[[_mean(values[seed]) for values in place] for place in places] for seed in seeds])
    if not seeds:
        return Matched(0, math.nan, Effect.of({}))
    return at_equal_gain(known, (0.0, _untouched(study, measure), 0.0))


def at_equal_gain(known: Values, start: tuple[float, ...]) -> Matched:
    """Of gain, value and drift (S, points + 1, 3) by seed, the method last; `start`: those of the base model."""

    def difference(some: Values) -> float:
        *front, (gain, value, _) = some.mean(axis=0).tolist()
        return float(value - least_drift([start, *front], gain)) if gain > 0 else math.nan

    without = [difference(np.delete(known, i, axis=0)) for i in range(len(known))] if len(known) > 1 else []
    effect = Effect.jackknife(difference(known), without)
    return Matched(int(np.isfinite(without).sum()), float(known[:, -1, 0].mean()), effect)


def least_drift(front: Sequence[tuple[float, ...]], target: float) -> float:
    """The value of points (gain, value, drift), joined by straight lines, where they drift least of all that have at
    least a gain; NaN if they have it nowhere.
    """
    found = [(drift, value) for gain, value, drift in front if gain >= target]
    for (x0, *one), (x1, *two) in pairwise(front):
        if min(x0, x1) < target < max(x0, x1):
            share = (target - x0) / (x1 - x0)
            value, drift = (a + share * (b - a) for a, b in zip(one, two, strict=True))
            found.append((drift, value))
    return min(found)[1] if found else math.nan


def beaten_by(study: Study, gain: Measure) -> dict[str, list[str]]:
    """For each method those that gain at least as much with at most as much drift, by their means."""
    place = {name: [study.spread(name, of).mean for of in (gain, study.drift)] for name in study.labels}
    return {
        label: [name for name, (a, b) in place.items() if a >= x and b <= y and name != label]
        for label, (x, y) in place.items()
    }


@dataclass(frozen=True)
class Explained:
    """How much later stages change a metric, over all orders; what single stages from the base predict; the rest."""

    later: Effect
    predicted: Effect
    rest: Effect

    @property
    def share(self) -> float:
        """Of the change; NaN for a change whose interval includes 0."""
        return math.nan if self.later.low <= 0 <= self.later.high else self.predicted.mean / self.later.mean


def explained(study: Study, label: str, metric: str) -> Explained:
    """The change of a reward after its own stage, of another metric after the base model, and the sum of the exchange
    rates of the stages that made it. A mean over the orders in which there are any.
    """
    rates = {other: study.first_stage(label, other, metric) for other in study.rewards}
    changes: list[tuple[int, Values]] = []
    sums: list[tuple[int, Values]] = []
    for run in study.of(label):
        own = run.matrix.stage_of(metric)
        after = [name for row in run.matrix.rows[own + 1 :] for name in row.rewards]
        if after and all(run.seed in rates[other] for other in after):
            change = study.better(metric) * (study.at(run, metric, -1) - study.at(run, metric, own))
            changes.append((run.seed, np.asarray(_mean(change))))
            sums.append((run.seed, np.asarray(sum(_mean(rates[other][run.seed]) for other in after))))
    later, predicted = averaged(changes), averaged(sums)
    rest = {seed: later[seed] - predicted[seed] for seed in later.keys() & predicted.keys()}
    return Explained(*(Effect.of(each) for each in (later, predicted, dict(sorted(rest.items())))))


def _untouched(study: Study, measure: Measure) -> float:
    """A measure of the base model: of a run that ends before its first stage."""
    run = study.runs[0]
    return _mean(measure(replace(run, matrix=replace(run.matrix, rows=run.matrix.rows[:1]))))


def _mean(value: np.ndarray) -> float:
    return float(value.mean())
