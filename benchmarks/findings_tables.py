"""Tables of a recorded study that compare its methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import numpy as np
from findings_fronts import beaten_by, explained, matched
from findings_markdown import Table, number, shown
from findings_runs import costs, environments, methods, teacher, units
from findings_study import POINTS, SEQUENCES, Effect, Measure, Study
from scipy.stats import rankdata

from rilbench.analysis.statistics import Spread
from rilbench.analysis.units import UNITS


def measures(study: Study) -> dict[str, Measure]:
    """What methods are compared in, by name: every reward, both aggregates, drift and the general metrics."""
    found: dict[str, Measure] = {}
    for reward in study.rewards:
        found |= {f"{reward} learned": study.learned(reward), f"{reward} left": study.left(reward)}
        found |= {f"{reward} forgotten": study.forgetting(reward)}
    for unit in UNITS:
        found |= {f"learned, {unit}": study.gain_learned(unit), f"left, {unit}": study.gain(unit)}
    return found | {"drift": study.drift} | {name: study.final(name) for name in study.general if name != "structure"}


def gains(study: Study, labels: Sequence[str]) -> Table:
    """Per reward, in both units, and ranks."""
    columns = {name: of for name, of in measures(study).items() if "learned" in name or "left" in name}
    ranks = _ranks(study, labels)
    rows = [
        [label, *(shown(study.spread(label, of)) for of in columns.values()), shown(ranks[label])] for label in labels
    ]
    note = (
        "Over the base model; positive is better. Learned: after the stage that trained the reward; left: at the end. "
        "Rank: of what is left among these methods, 1 is best, a mean over the rewards."
    )
    return Table("Gains", note, ["method", *columns, "rank"], rows)


def _ranks(study: Study, labels: Sequence[str]) -> dict[str, Spread]:
    """Of each seed among the methods that have it."""
    found: dict[str, dict[int, list[float]]] = {label: {} for label in labels}
    for reward in study.rewards:
        values = {label: study.by_seed(label, study.left(reward)) for label in labels}
        for seed in {seed for own in values.values() for seed in own}:
            having = [label for label in labels if seed in values[label]]
            places = rankdata([-float(values[label][seed].mean()) for label in having])
            for label, place in zip(having, places, strict=True):
                found[label].setdefault(seed, []).append(float(place))
    return {label: Spread.of(float(np.mean(places)) for places in own.values()) for label, own in found.items()}


def final_values(study: Study, labels: Sequence[str]) -> Table:
    rows = [[label, *(shown(study.spread(label, study.final(m))) for m in study.metrics)] for label in labels]
    return Table("Final values", "After the last stage.", ["method", *study.metrics], rows)


def forgetting(study: Study, labels: Sequence[str]) -> Table:
    rows = [[label, *(shown(study.spread(label, study.forgetting(m))) for m in study.metrics)] for label in labels]
    note = "Eq. 3, after the last stage, in the metric's own scale. A reward trained last has none; a merge has all."
    return Table("Forgetting", note, ["method", *study.metrics], rows)


def by_stage(study: Study) -> Table:
    labels = [label for label in _sequences(study) if study.stages > 1]
    stages = range(1, study.stages + 1) if labels else range(0)
    rows = []
    for label, metric in product(labels, study.general):
        values = [shown(study.spread(label, study.forgetting(metric, t), t)) for t in stages]
        rows.append([label, metric, *values, shown(study.effect(label, study.growth(metric)))])
    note = "Eq. 3 of the general metrics, in the metric's own scale."
    head = ["method", "metric", *(f"stage {t}" for t in stages), f"{len(stages)} minus 1"]
    return Table("Forgetting by stage", note, head, rows)


def differences(study: Study, title: str, pairs: Sequence[tuple[str, str]]) -> Table:
    rows = []
    for one, other in pairs:
        effects = [study.minus(one, other, of) for of in measures(study).values()]
        rows.append([f"{one} minus {other}", str(max(e.seeds for e in effects)), *map(shown, effects)])
    note = "Paired by order and seed. Intervals of metrics that score single images are over seeds and prompts."
    return Table(title, note, ["difference", "seeds", *measures(study)], rows)


def _against_rid(study: Study) -> list[tuple[str, str]]:
    return [("rid", label) for label in study.labels if label != "rid" and "rid" in study.labels]


def _ablations(study: Study) -> list[tuple[str, str]]:
    """Each with the method that it changes."""
    changed = {label: label.partition("-")[0] for label in study.others}
    return [(label, own) for label, own in changed.items() if own in study.labels]


def fronts(study: Study) -> Table:
    columns = {f"left, {unit}": study.gain(unit) for unit in UNITS} | {"drift": study.drift}
    columns |= {name: study.final(name) for name in study.general if name != "structure"}
    beaten = [beaten_by(study, study.gain(unit)) for unit in UNITS]
    rows = []
    for label in study.labels:
        values = [shown(study.spread(label, of)) for of in columns.values()]
        rows.append([label, *values, *(", ".join(each[label]) or "none" for each in beaten)])
    note = "Beaten by: methods whose means have at least the gain and at most the drift (1 - structure)."
    return Table("Fronts of gain against drift", note, ["method", *columns, *(f"beaten by, {u}" for u in UNITS)], rows)


def at_matched_gain(study: Study) -> Table:
    columns = {"drift": study.drift} | {name: study.final(name) for name in study.general if name != "structure"}
    rows = []
    for family, (name, gain) in product(families(study), matched_gains(study).items()):
        found = [matched(study, "rid", family, gain, of) for of in columns.values()]
        if seeds := found[0].effect.seeds:
            cells = [shown(each.effect) for each in found]
            rows.append([family, name, str(seeds), f"{found[0].reached} of {seeds}", *cells])
    note = (
        "RID minus the front of the others, of means over the orders and seeds that all have. A front goes in "
        "straight lines from the base model through its methods, from the least to the largest step; its place is "
        "where it drifts least of all that gain at least as much as RID; there is none if RID gains nothing. Reached: "
        "in how many means that leave out one seed. The interval is that of the jackknife over seeds; there is none "
        "unless all reach RID's gain."
    )
    return Table("At RID's gain", note, ["front", "equal", "seeds", "reached", *columns], rows)


def families(study: Study) -> list[str]:
    """The fronts that RID can be compared with."""
    return [name for name, points in POINTS.items() if "rid" in study.labels and set(points) & set(study.labels)]


def matched_gains(study: Study) -> dict[str, Measure]:
    """The gains at which methods are compared."""
    return {name: of for name, of in measures(study).items() if "left" in name}


def exchange_rates(study: Study) -> Table:
    rows = []
    for label in _sequences(study):
        for reward in study.rewards:
            effects = [Effect.of(study.first_stage(label, reward, metric)) for metric in study.metrics]
            if effects[0].seeds:
                rows.append([label, reward, str(effects[0].seeds), *map(shown, effects)])
    note = "The change by one stage from the base model, in the metric's own scale; positive is better."
    return Table("Exchange rates", note, ["method", "trained", "seeds", *study.metrics], rows)


def explained_by_exchange(study: Study) -> Table:
    rows = []
    for label, metric in product(_sequences(study), [*study.rewards, *study.general]):
        found = explained(study, label, metric)
        effects = [shown(each) for each in (found.later, found.predicted, found.rest)]
        if found.later.seeds:
            rows.append([label, metric, str(found.later.seeds), *effects, number(100 * found.share)])
    note = (
        "Change: of a reward after its own stage, a mean over the orders in which others follow; of another metric "
        "after the base model. Exchange rates: the sum of those of the same stages. Rest: what only a sequence has. "
        "Positive is better. Share: that of exchange rates, of a change whose interval excludes 0."
    )
    head = ["method", "metric", "seeds", "change", "exchange rates", "rest", "share %"]
    return Table("Later change, and what exchange rates explain", note, head, rows)


def _sequences(study: Study) -> list[str]:
    return [label for label in SEQUENCES if label in study.labels]


def tables(study: Study) -> Iterator[Table]:
    """All of them, those without rows left out."""
    labels = study.labels
    made: Iterable[Table] = (
        methods(study),
        units(study),
        gains(study, labels),
        final_values(study, labels),
        forgetting(study, labels),
        by_stage(study),
        differences(study, "Differences to RID", _against_rid(study)),
        fronts(study),
        at_matched_gain(study),
        exchange_rates(study),
        explained_by_exchange(study),
        teacher(study),
        differences(study, "Ablations", _ablations(study)),
        costs(study),
        environments(study),
    )
    return (table for table in made if table.rows)
