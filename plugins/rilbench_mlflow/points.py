"""The numbers of a run as MLflow shows them. The part of a name before the last `/` is its section of charts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.result import RunResult
from rilbench.store import read_json


class Point(NamedTuple):
    """A value of a curve; `time` in ms since 1970.

    The time is that of the work, read from the disk: MLflow drops a point that it has with the same time and step,
    so a stage that was cut off half-way can be sent again whole.
    """

    key: str
    value: float
    step: int
    time: int


def stage_points(store: Path, result: RunResult, stage: int) -> list[Point]:
    """Everything a stage adds: metrics and forgetting at step `stage`, training curves at cumulative updates."""
    row, matrix = result.matrix.rows[stage], result.matrix
    values = {f"eval/{name}": value for name, value in row.values.items()}
    for info in matrix.metrics:
        if not matrix.masked(info.name, stage):
            values[f"forgetting/{info.name}"] = matrix.forgetting(info.name, stage)
    return [*_points(values, stage, _measured(store, result, stage)), *_training(store, result, stage)]


def final_points(store: Path, result: RunResult) -> list[Point]:
    """The last row, the forgetting over the whole run and the average, at step 0: single values show as bars."""
    matrix = result.matrix
    values = {f"final/{name}": value for name, value in matrix.rows[-1].values.items()}
    last = len(matrix.rows) - 1
    kept = [info.name for info in matrix.metrics if not matrix.masked(info.name, last)]
    values |= {f"final_forgetting/{name}": matrix.forgetting(name) for name in kept}
    values["summary/average"] = matrix.average()
    return list(_points(values, 0, _measured(store, result, -1)))


def clean(key: str) -> str:
    """A name as MLflow allows it: other characters become underscores."""
    return re.sub(r"[^\w./ -]", "_", key)


def _training(store: Path, result: RunResult, stage: int) -> Iterator[Point]:
    before = sum(_updates(_stage_file(store, result, i)[0]) for i in range(stage))
    record, written = _stage_file(store, result, stage)
    total = _updates(record)
    for entry in record.get("log", ()):
        left = 1 - entry["update"] / total
        values = {f"train/{key}": value for key, value in entry.items() if key != "update"}
        yield from _points(values, before + entry["update"], written - round(1000 * left * record.get("seconds", 0.0)))


def _stage_file(store: Path, result: RunResult, stage: int) -> tuple[Mapping[str, Any], int]:
    """A stage's record and when it was written in ms; empty for the base model and merged stages."""
    path = store / "stages" / result.matrix.rows[stage].stage_id / "stage.json"
    return (read_json(path), _written(path)) if path.exists() else ({}, 0)


def _updates(record: Mapping[str, Any]) -> int:
    return max((int(entry["update"]) for entry in record.get("log", ())), default=0)


def _measured(store: Path, result: RunResult, stage: int) -> int:
    return _written(store / result.matrix.rows[stage].evaluation / "metrics.json")


def _written(path: Path) -> int:
    return int(path.stat().st_mtime * 1000) if path.exists() else 0


def _points(values: Mapping[str, float | None], step: int, time: int) -> Iterator[Point]:
    """A missing or infinite value is left out."""
    for key, value in values.items():
        if value is not None and math.isfinite(value):
            yield Point(clean(key), float(value), step, time)
