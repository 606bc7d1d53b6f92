"""Runs that should not be averaged: made with other settings, or measured on another base model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rilbench.compare.recorded import settings
from rilbench.errors import UsageError
from rilbench.result import RunResult

FREE = ("label", "rewards", "seed", "store", "requires", "tracking")  # what runs of a group may differ in
NEUTRAL = (  # what changes no number beyond rounding
    "model.device",
    "model.gradient_checkpointing",
    "train.log_gradients_every",
    "train.checkpoint_every",
    "evaluate.batch_size",
    "evaluate.samples",
    "evaluate.bootstrap",
)
CLOSE = 1e-3  # relative difference of base values that rounding on another machine explains


def check(runs: Sequence[RunResult], warn: Callable[[str], None]) -> None:
    """Warn when runs of a strategy differ in a setting, or runs in their base model's values.

    Settings are those of `config.yaml` in the folders; a run without one, such as a tracking server's, is left out.
    Raises UsageError for two runs of one strategy, order and seed: they cannot be told apart as seeds.
    """
    for label in dict.fromkeys(run.label for run in runs):
        group = [run for run in runs if run.label == label]
        keys = ", ".join(_differing(group))
        _one_of_each(group, keys)
        if keys:
            warn(f"runs of {label} differ in {keys}; their means mix these settings")
    for metric, low, high in _bases(runs):
        warn(f"the base model's {metric} is {low:.6g} in one run and {high:.6g} in another: not the same measurement")


def _one_of_each(runs: Sequence[RunResult], keys: str) -> None:
    seen: dict[tuple[tuple[str, ...], int], str] = {}
    for run in runs:
        other = seen.setdefault((run.rewards, run.seed), run.name)
        if other != run.name:
            why = f"same order and seed but differ in {keys or 'settings or versions'}; compare them apart"
            raise UsageError(f"{other} and {run.name} have the {why}")


def _differing(runs: Sequence[RunResult]) -> Iterator[str]:
    """The settings that differ, each with two of its values."""
    known = [of_run for run in runs if (of_run := _settings(run))]
    for key in dict.fromkeys(key for of_run in known for key in of_run):
        values = list(dict.fromkeys(str(of_run.get(key, "unset")) for of_run in known))
        if len(values) > 1:
            yield f"{key} ({values[0]} and {values[1]})"


def _settings(run: RunResult) -> dict[str, Any]:
    """The settings of a run that matter, by dotted key."""

    def matters(key: str, value: Any) -> bool:
        return value != {} and key not in NEUTRAL and key.partition(".")[0] not in FREE

    return {key: value for key, value in settings(run).items() if matters(key, value)}


def _bases(runs: Sequence[RunResult]) -> Iterator[tuple[str, float, float]]:
    """Metrics whose value of the untouched model is not the same in all runs, with the least and the largest.

    A run of one row is a model measured alone, which is nobody's base.
    """
    runs = [run for run in runs if len(run.matrix.rows) > 1]
    for metric in dict.fromkeys(info.name for run in runs for info in run.matrix.metrics):
        values = [v for run in runs if not math.isnan(v := run.matrix.rows[0].values.get(metric, math.nan))]
        if values and not math.isclose(min(values), max(values), rel_tol=CLOSE):
            yield metric, min(values), max(values)
