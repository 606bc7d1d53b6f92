"""Runs that should not be averaged: made with other settings, or measured on another base model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from rilbench.analysis.comparable import strategies_of, telling
from rilbench.analysis.names import some
from rilbench.analysis.recorded import settings
from rilbench.contracts.result import RunResult

MEASURING = (
    "model",
    "evaluate",
    "reward_settings",
    "metric_settings",
)  # what decides the base model's values
CLOSE = 1e-3  # relative difference of base values that rounding on another machine explains


def check(runs: Sequence[RunResult], warn: Callable[[str], None]) -> None:
    """Warn when runs of a strategy differ in a setting, or runs in their base model's values.

    Settings are those of `config.yaml` in the folders; a run without one, such as a tracking server's, is left out.
    """
    for label in dict.fromkeys(run.label for run in runs):
        group = [run for run in runs if run.label == label]
        keys = ", ".join(_differing(group))
        if keys:
            warn(f"runs of {label} differ in {keys}; their means mix these settings")
    if text := _bases(runs):
        warn(text)


def _differing(runs: Sequence[RunResult]) -> Iterator[str]:
    """The settings that differ, each with two of its values."""
    known = [of_run for run in runs if (of_run := telling(settings(run), strategies_of(run)))]
    for key in dict.fromkeys(key for of_run in known for key in of_run):
        values = list(dict.fromkeys(str(of_run.get(key, "unset")) for of_run in known))
        if len(values) > 1:
            yield f"{key} ({values[0]} and {values[1]})"


def _bases(runs: Sequence[RunResult]) -> str:
    """In one line: the runs whose untouched model measures otherwise than in most, in what, and by which setting.

    A run of one row is a model measured alone, which is nobody's base.
    """
    alike = _alike([run for run in runs if len(run.matrix.rows) > 1])
    if len(alike) < 2:
        return ""
    usual = max(alike, key=len)
    others = [run for group in alike if group is not usual for run in group]
    told: dict[str, str] = {}
    for run in others:
        told = _unlike(usual[0], run) | told
    plain = [f"{metric} {values}" for metric, values in told.items() if "@" not in metric]
    keys = [text for text in _differing([usual[0], *others]) if text.partition(".")[0] in MEASURING]
    return (
        f"the untouched model measures otherwise in {some([run.name for run in others])} than in the other "
        f"{sum(map(len, alike)) - len(others)} runs: {', '.join(plain or told)}; "
        f"they differ in {', '.join(keys) or 'no setting that is known'}, so their numbers are not comparable"
    )


def _alike(runs: Sequence[RunResult]) -> list[list[RunResult]]:
    """The runs in groups whose untouched model measures the same."""
    groups: list[list[RunResult]] = []
    for run in runs:
        same = next((group for group in groups if not _unlike(group[0], run)), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    return groups


def _unlike(one: RunResult, other: RunResult) -> dict[str, str]:
    """The metrics whose value of the untouched model is not the same, with both values."""
    left, right = one.matrix.rows[0].values, other.matrix.rows[0].values
    found = {}
    for metric in left:
        a, b = left[metric], right.get(metric, math.nan)
        if not (math.isnan(a) or math.isnan(b) or math.isclose(a, b, rel_tol=CLOSE)):
            found[metric] = f"({a:.4g} and {b:.4g})"
    return found
