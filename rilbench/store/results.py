"""What a run's folder holds: its result, and the evaluations it consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rilbench.contracts.result import RunResult
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import RunFiles


def load_result(folder: Path) -> RunResult:
    """The result of a run, finished or not; ConfigError when it is missing, damaged or of another schema."""
    file = RunFiles(folder).result
    return replace(RunResult.from_json(read_json(file), str(file)), folder=folder)


def write_plan(folder: Path, evaluations: Sequence[str]) -> None:
    """Write which evaluations, relative to the store, a run consists of: `rilbench runs clean` leaves them."""
    write_json(RunFiles(folder).plan, {"evaluations": list(evaluations)})


def planned_evaluations(folder: Path) -> list[str]:
    """The evaluations that a run consists of; DamagedError when that is not known."""
    listed: list[object] = read_json(RunFiles(folder).plan, like={"evaluations": list})["evaluations"]
    return [path for path in listed if isinstance(path, str)]
