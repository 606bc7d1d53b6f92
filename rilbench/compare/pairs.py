"""Runs of two strategies matched by order and seed, and which of these pairs are independent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rilbench.compare.groups import model_of
from rilbench.result import RunResult

Pair = tuple[RunResult, RunResult]


def matched(runs: Sequence[RunResult], one: str, two: str) -> list[Pair]:
    """The runs of two strategies with the same order and seed."""
    partners = {(run.rewards, run.seed): run for run in runs if run.label == two}
    own = [run for run in runs if run.label == one and (run.rewards, run.seed) in partners]
    return [(run, partners[run.rewards, run.seed]) for run in own]


def independent(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Pairs in groups, such that pairs of different groups share no model.

    A soup is one model in all orders of a seed, so its pairs with the sequences of a seed are one group: they are one
    observation of the soup, not six.
    """
    groups: list[tuple[set[tuple[str, frozenset[str]]], list[Pair]]] = []
    for pair in pairs:
        models, members = {(run.label, model_of(run)) for run in pair}, [pair]
        for group in [group for group in groups if group[0] & models]:
            groups.remove(group)
            models, members = models | group[0], group[1] + members
        groups.append((models, members))
    return [members for _, members in groups]
