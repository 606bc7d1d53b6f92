"""What tells the strategies of a study apart: the name, and the settings in which runs of one name differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rilbench.analysis.recorded import telling
from rilbench.contracts.result import RunResult
from rilbench_mlflow.labels import params


def labels(
    names: Sequence[str], settings: Sequence[Mapping[str, Any]], strategies: Sequence[Sequence[str]] = ()
) -> list[str]:
    """A label a run, such as `rid`, or `rid lam=10` where the study has runs of `rid` with another `lam`.

    names, settings: of each run, its label and its settings by dotted key, empty when they are not known.
    strategies: those with a part in each run, besides those that its settings name.
    """
    own_of = [telling(of_run, used) for of_run, used in zip(settings, strategies or [()] * len(settings), strict=True)]
    found = []
    for name, own in zip(names, own_of, strict=True):
        others = [of_run for other, of_run in zip(names, own_of, strict=True) if other == name and of_run]
        differing = [key for key, value in own.items() if any(of_run.get(key) != value for of_run in others)]
        found.append(" ".join([name, *(f"{_short(key, differing)}={own[key]}" for key in differing)]))
    return found


def _short(key: str, among: Sequence[str]) -> str:
    """The last part of a setting's name, or all of it where another one ends alike."""
    last = key.rpartition(".")[2]
    return key if sum(other.rpartition(".")[2] == last for other in among) > 1 else last


def examples(results: Sequence[RunResult], labels: Sequence[str]) -> dict[str, str]:
    """Parameters that pick few runs to look at but all labels: of the first run's order and seed, or one of them."""
    first = params(results[0], {})
    for keys in (("rewards", "seed"), ("rewards",), ("seed",)):
        wanted = {key: first[key] for key in keys}
        found = {label for run, label in zip(results, labels, strict=True) if wanted.items() <= params(run, {}).items()}
        if found == set(labels):
            return wanted
    return {}


def differing(params: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the parameters that tell some runs apart, those with the fewest values first."""
    values = {key: {of_run.get(key, "") for of_run in params} for of_run in params for key in of_run}
    return sorted((key for key, found in values.items() if len(found) > 1), key=lambda key: (len(values[key]), key))
