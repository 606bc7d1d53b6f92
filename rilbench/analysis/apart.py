"""Runs of one label that are not one method: the settings in which they differ become part of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rilbench.analysis.comparable import strategies_of, telling
from rilbench.analysis.recorded import settings
from rilbench.contracts.result import RunResult

SHOWN = 3  # settings a label tells before it counts
LONGEST = 24  # characters of a value


def told_apart(runs: Sequence[RunResult]) -> list[RunResult]:
    """The runs; where two of a label have one order and seed, all runs of the label get longer ones."""
    return relabelled(runs, twice(runs))


def twice(runs: Sequence[RunResult]) -> set[str]:
    """The labels under which an order and seed stand more than once."""
    return {label for (label, *_), n in Counter(map(_case, runs)).items() if n > 1}


def relabelled(runs: Sequence[RunResult], labels: Collection[str]) -> list[RunResult]:
    """The runs; those of `labels` as `LABEL (lam 0.5)`: with what differs in the settings that tell runs apart.

    Runs that differ in none, but for example in the version of a plugin, get the hash at the end of their names.
    """
    of_label: dict[str, list[dict[str, str]]] = {}
    for run in runs:
        if run.label in labels:
            of_label.setdefault(run.label, []).append(_texts(run))
    named = [_longer(run, of_label[run.label]) if run.label in labels else run for run in runs]
    same = {label for label in twice(named) if labels}
    return [
        replace(run, label=f"{run.label} #{run.name.rpartition('-')[2]}") if run.label in same else run for run in named
    ]


def differing(run: RunResult, others: Sequence[RunResult]) -> dict[str, str]:
    """The settings of a run in which it differs from any of others of its label, by dotted key."""
    return _differing(_texts(run), [_texts(other) for other in others if other.label == run.label])


def _case(run: RunResult) -> tuple[str, tuple[str, ...], int]:
    return run.label, run.rewards, run.seed


def _texts(run: RunResult) -> dict[str, str]:
    own = telling(settings(run), strategies_of(run))
    return {key: ",".join(map(str, v)) if isinstance(v, list) else str(v) for key, v in own.items()}


def _differing(own: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> dict[str, str]:
    keys = dict.fromkeys(key for each in (own, *others) for key in each)
    return {k: own.get(k, "unset") for k in keys if any(own.get(k) != other.get(k) for other in others)}


def _longer(run: RunResult, others: Sequence[Mapping[str, str]]) -> RunResult:
    told = [f"{key.rpartition('.')[2]} {_short(value)}" for key, value in _differing(_texts(run), others).items()]
    if not told:
        return run
    more = [f"{len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return replace(run, label=f"{run.label} ({', '.join(told[:SHOWN] + more)})")


def _short(value: str) -> str:
    last = value.rstrip("/").rpartition("/")[2]
    return last if len(last) <= LONGEST else f"{last[:LONGEST]}..."
