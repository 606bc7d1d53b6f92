"""The result in a run's folder, and the evaluations that the run consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rilbench.contracts.result import RunResult
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import RunFiles


def load_result(folder: Path) -> RunResult:
    """The result of a run, finished or not. Raises ConfigError if it is missing, damaged or of another schema."""
    file = RunFiles(folder).result
    return replace(RunResult.from_json(read_json(file), str(file)), folder=folder)


def write_plan(folder: Path, evaluations: Sequence[str]) -> None:
    """Write the evaluations of a run, relative to the store: `rilbench runs clean` keeps them."""
    write_json(RunFiles(folder).plan, {"evaluations": list(evaluations)})


def planned_evaluations(folder: Path) -> list[str]:
    """The evaluations of a run. Raises DamagedError if they are unknown."""
    listed: list[object] = read_json(RunFiles(folder).plan, like={"evaluations": list})["evaluations"]
    return [path for path in listed if isinstance(path, str)]
