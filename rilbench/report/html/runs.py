"""The runs a report is about, with what their folders say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from rilbench.errors import ConfigError, UsageError
from rilbench.prompts import read_prompts
from rilbench.result import ResultMatrix, RunResult
from rilbench.store import read_json

PLACE = ("store", "tracking", "seed", "rewards")  # settings that do not make a strategy another one


@dataclass(frozen=True)
class Run:
    """A finished run. `label` is what the report calls its strategy."""

    result: RunResult
    folder: Path
    label: str

    @property
    def matrix(self) -> ResultMatrix:
        return self.result.matrix

    @property
    def order(self) -> str:
        """The rewards in training order."""
        return " > ".join(self.result.rewards)

    @cached_property
    def settings(self) -> dict[str, str]:
        """`config.yaml`, key.of.setting to text; empty when there is none."""
        file = self.folder / "config.yaml"
        return flat(yaml.safe_load(file.read_text())) if file.exists() else {}

    @cached_property
    def environment(self) -> dict[str, str]:
        """`environment.json`, flattened likewise."""
        file = self.folder / "environment.json"
        return flat(read_json(file)) if file.exists() else {}

    @cached_property
    def prompts(self) -> list[str]:
        """The evaluation prompts; empty when their file is not on this machine."""
        try:
            return read_prompts(self.settings.get("evaluate.prompts", ""))
        except ConfigError:
            return []

    def trained_samples(self) -> list[str]:
        """How many images each trained stage generated for training, as far as the store knows."""
        files = [self.folder.parent / "stages" / row.stage_id / "stage.json" for row in self.matrix.rows if row.rewards]
        return [str(read_json(file)["document"]["train"]["samples"]) for file in files if file.exists()]


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted keys and texts."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, part in value.items() for k, v in flat(part, f"{prefix}{key}.").items()}
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return {prefix.removesuffix("."): text}


def read_runs(sources: Sequence[str]) -> tuple[list[Run], list[str]]:
    """The finished runs of run folders and stores, each once, and the names of those that are not finished.

    UsageError when nothing is left, or when runs cannot be told apart.
    """
    folders = [folder for source in sources for folder in _folders(Path(source))]
    found = {run.result.name: run for run in (_read(folder) for folder in folders)}
    finished = [run for run in found.values() if run.result.status == "finished"]
    if not finished:
        raise UsageError(f"no finished run in {', '.join(sources)}; `rilbench run` makes one")
    return _told_apart(finished), sorted(n for n, run in found.items() if run.result.status != "finished")


def _folders(source: Path) -> list[Path]:
    if not source.is_dir():
        raise UsageError(f"there is no folder {str(source)!r}; name run folders, or the store that holds them")
    inside = sorted(file.parent for file in source.glob("*/result.json"))
    return [source] if (source / "result.json").exists() or not inside else inside


def _read(folder: Path) -> Run:
    result = RunResult.load(folder)
    return Run(result, folder, result.strategy)


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """Where runs of a strategy with one order and seed differ in settings, the settings become part of the label."""
    twice = {label for (label, *_), n in Counter(map(_key, runs)).items() if n > 1}
    of_label = {label: [run.settings for run in runs if run.label == label] for label in twice}
    named = [replace(run, label=_label(run, of_label[run.label])) if run.label in twice else run for run in runs]
    same = [run.result.name for run in named if Counter(map(_key, named))[_key(run)] > 1]
    if same:
        raise UsageError(f"{', '.join(same)}: same strategy, order and seed, yet not the same run; report them apart")
    return sorted(named, key=_key)


def _key(run: Run) -> tuple[str, str, int]:
    return run.label, run.order, run.result.seed


def _label(run: Run, others: Sequence[Mapping[str, str]]) -> str:
    differing = [k for k in run.settings if k not in PLACE and len({o.get(k) for o in others}) > 1]
    told = [f"{key.rpartition('.')[2]} {run.settings[key]}" for key in differing]
    return f"{run.label} ({', '.join(told)})"
