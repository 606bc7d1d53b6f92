"""Which runs are one method: their labels, with settings added where these differ, and their base models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from rilbench.analysis.sources import load_settings, some
from rilbench.contracts.result import RunResult
from rilbench.engine.config import ANY, added_defaults

T = TypeVar("T")
Settings = Mapping[str, Mapping[str, Any]]  # of each run by name, by dotted key

# the run's own
FREE = ("label", "rewards", "after", "seed", "store", "requires", "trackers", "tracking", "check_memory")
NEUTRAL = (  # these change no number beyond rounding
    "model.device",
    "model.gradient_checkpointing",
    "model.vae_slicing",
    "train.micro_batch",
    "train.gradient_accumulation",
    "train.log_gradients_every",
    "train.checkpoint_every",
    "train.checkpoint_minutes",
    "train.validate_every",
    "train.validate_prompts",
    "train.validate_images",
    "train.validate_metrics",
    "evaluate.batch_size",
    "evaluate.pictures",
    "evaluate.metrics",  # these add columns
    "evaluate.perturb",
    "evaluate.train_prompts",
)
SHOWN = 3  # settings in a label
LONGEST = 24  # characters of a value
MEASURING = ("model", "evaluate", "reward_settings", "metric_settings")  # sections that decide the base values
CLOSE = 1e-3  # relative difference of base values that rounding on another machine explains
ALONE = -1  # in place of a base model: a run of one row is a model measured alone


def told_apart(runs: Sequence[RunResult], settings: Settings | None = None) -> list[RunResult]:
    """The runs; where two of a label have the same order and seed, or start from several base models, the label of each
    names the settings in which they differ, as `LABEL (lam 0.5)`.

    Runs that differ in no setting, but for example in the version of a plugin, get the hash at the end of their names.
    """
    bases = base_models(runs)
    on = {(run.label, bases[run.name]) for run in runs if bases[run.name] != ALONE}
    labels = _twice(runs) | {label for label, n in Counter(label for label, _ in on).items() if n > 1}
    chosen = [run for run in runs if run.label in labels]
    apart = differing(chosen, settings_of(chosen) if settings is None else settings)
    named = [replace(run, label=_longer(run.label, apart[run.name])) if run.name in apart else run for run in runs]
    same = _twice(named) if labels else set()
    return [
        replace(run, label=f"{run.label} #{run.name.rpartition('-')[2]}") if run.label in same else run for run in named
    ]


def settings_of(runs: Sequence[RunResult]) -> Settings:
    """The settings of runs by name. Reading them takes longer than comparing the runs: read them once."""
    return {run.name: load_settings(run) for run in runs}


def telling(settings: Mapping[str, T], strategies: Iterable[str] = ()) -> dict[str, T]:
    """The settings, by dotted key, in which two runs of one method agree; those of strategies that take no part in the
    run are left out, and so are defaults of settings that earlier runs did not have.

    strategies: those that take part, in addition to those that the settings name: `by` has a default.
    """
    strategy = str(settings.get("strategy", ""))
    added = added_defaults()
    involved = {*strategies, ANY, strategy, str(settings.get(f"strategy_settings.{strategy}.by", ""))}

    def tells(key: str, value: T) -> bool:
        section, _, rest = key.partition(".")
        others = strategy and section in ("strategy_settings", "recipes") and rest.partition(".")[0] not in involved
        unset = key in added and _text(value) == _text(added[key])
        return str(value) != "{}" and key not in NEUTRAL and section not in FREE and not others and not unset

    return {key: value for key, value in settings.items() if tells(key, value)}


def differing(runs: Sequence[RunResult], settings: Settings) -> dict[str, dict[str, str]]:
    """For each run by name the settings, by dotted key, in which runs of its label differ, with its own values.

    A run without recorded settings, such as a tracking server's, differs in none.
    """
    texts = {run.name: method_settings(run, settings) for run in runs}
    found: dict[str, dict[str, str]] = {name: {} for name in texts}
    for label in dict.fromkeys(run.label for run in runs):
        names = [run.name for run in runs if run.label == label and texts[run.name]]
        apart = _varying([texts[name] for name in names])
        found |= {name: {key: texts[name].get(key, "unset") for key in apart} for name in names}
    return found


def check(runs: Sequence[RunResult], settings: Settings, warn: Callable[[str], None]) -> None:
    """Warn if runs of a label differ in a setting, or if runs have different values of the base model.

    A run without recorded settings, such as a tracking server's, is left out of the first check.
    """
    for label in dict.fromkeys(run.label for run in runs):
        if keys := ", ".join(_mixed([run for run in runs if run.label == label], settings)):
            warn(f"runs of {label} differ in {keys}; their means mix these settings")
    bases = base_models(runs)
    usual = [run for run in runs if bases[run.name] == 0]
    others = [run for run in runs if bases[run.name] > 0]
    if others:
        found: Mapping[str, str] = {k: v for run in others for k, v in _unlike(usual[0], run).items()}
        plain = [f"{metric} {values}" for metric, values in found.items() if "@" not in metric]
        keys = ", ".join(measured_otherwise([usual[0], *others], settings)) or "no recorded setting"
        warn(
            f"the untouched model has other values in {some([run.name for run in others])} than in the other "
            f"{len(usual)} runs: {', '.join(plain or found)}; they differ in {keys}, so their numbers are not "
            "comparable"
        )


def base_models(runs: Sequence[RunResult]) -> dict[str, int]:
    """For each run by name the number of its base model, 0 for that of most runs.

    Two runs have the same base model if the untouched model has the same values in all metrics that both measured.
    """
    alike: list[list[RunResult]] = []
    for run in (run for run in runs if len(run.matrix.rows) > 1):
        same = next((group for group in alike if not _unlike(group[0], run)), None)
        if same is None:
            alike.append([run])
        else:
            same.append(run)
    alike.sort(key=len, reverse=True)
    return {run.name: ALONE for run in runs} | {run.name: i for i, group in enumerate(alike) for run in group}


def measured_otherwise(runs: Sequence[RunResult], settings: Settings) -> list[str]:
    """The settings that may explain why runs measure another base model, each with two of its values."""
    return [text for text in _mixed(runs, settings) if text.partition(".")[0] in MEASURING]


def _twice(runs: Sequence[RunResult]) -> set[str]:
    """The labels that have an order and seed more than once."""
    cases = Counter((run.label, run.rewards, run.seed) for run in runs)
    return {label for (label, *_), n in cases.items() if n > 1}


def method_settings(run: RunResult, settings: Settings) -> dict[str, str]:
    """`telling` of a run as texts; empty if no settings are recorded."""
    known = settings[run.name]
    used = [key.removeprefix("strategy/") for key in run.plugins if key.startswith("strategy/")]
    own = telling({"strategy": run.strategy, **known}, used) if known else {}
    return {key: _text(value) for key, value in own.items()}


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _longer(label: str, own: Mapping[str, str]) -> str:
    last = {k: v.rstrip("/").rpartition("/")[2] for k, v in own.items()}
    short = {k: v if len(v) <= LONGEST else f"{v[:LONGEST]}..." for k, v in last.items()}
    parts = [f"{k.rpartition('.')[2]} {v}" for k, v in short.items()]
    more = [f"{len(parts) - SHOWN} more"] if len(parts) > SHOWN else []
    return f"{label} ({', '.join(parts[:SHOWN] + more)})" if parts else label


def _mixed(runs: Sequence[RunResult], settings: Settings) -> list[str]:
    """The settings that differ, each with two of its values."""
    known = [own for run in runs if (own := method_settings(run, settings))]
    return [f"{key} ({values[0]} and {values[1]})" for key, values in _varying(known).items()]


def _varying(texts: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """The keys that have several values, with these."""
    keys = dict.fromkeys(key for each in texts for key in each)
    values = {key: list(dict.fromkeys(each.get(key, "unset") for each in texts)) for key in keys}
    return {key: several for key, several in values.items() if len(several) > 1}


def _unlike(one: RunResult, other: RunResult) -> dict[str, str]:
    """The metrics whose value of the untouched model is not the same, with both values."""
    left, right = one.matrix.rows[0].values, other.matrix.rows[0].values
    both = {metric: (a, right.get(metric, math.nan)) for metric, a in left.items()}
    return {
        metric: f"({a:.4g} and {b:.4g})"
        for metric, (a, b) in both.items()
        if not (math.isnan(a) or math.isnan(b) or math.isclose(a, b, rel_tol=CLOSE))
    }
