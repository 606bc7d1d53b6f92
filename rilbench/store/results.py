"""The result in a run's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rilbench.contracts.result import RunResult
from rilbench.store.files import read_json


def load_result(folder: Path) -> RunResult:
    """The result of a run, finished or not; ConfigError when it is missing, damaged or of another schema."""
    file = folder / "result.json"
    return replace(RunResult.from_json(read_json(file), str(file)), folder=folder)
