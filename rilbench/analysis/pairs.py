"""Runs of two strategies matched by order and seed, and their differences, as many as are independent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rilbench.analysis.groups import model_of
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import RunResult

Pair = tuple[RunResult, RunResult]


def independent_pairs(runs: Sequence[RunResult], one: str, two: str) -> list[list[Pair]]:
    """The runs of two strategies with the same order and seed, in groups such that pairs of different groups share no
    model.

    A soup is one model in all orders of a seed, so its pairs with the sequences of a seed are one group: they are one
    observation of the soup, not six.
    """
    partners = {(run.rewards, run.seed): run for run in runs if run.label == two}
    own = [run for run in runs if run.label == one and (run.rewards, run.seed) in partners]
    return _grouped((run, partners[run.rewards, run.seed]) for run in own)


def mean_differences(groups: Iterable[Sequence[Pair]], of: Callable[[RunResult], float]) -> list[float]:
    """A number of the first strategy minus that of the second: for each group the mean of the pairs whose difference is
    known, NaN where none is."""
    return [Spread.of([of(one) - of(two) for one, two in group]).mean for group in groups]


def _grouped(pairs: Iterable[Pair]) -> list[list[Pair]]:
    groups: list[tuple[set[tuple[str, frozenset[str]]], list[Pair]]] = []
    for pair in pairs:
        models, members = {(run.label, model_of(run)) for run in pair}, [pair]
        for group in [group for group in groups if group[0] & models]:
            groups.remove(group)
            models, members = models | group[0], group[1] + members
        groups.append((models, members))
    return [members for _, members in groups]
