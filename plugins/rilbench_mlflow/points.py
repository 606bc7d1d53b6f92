"""The numbers of a run as MLflow shows them. The part of a name before the last `/` is its section of charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.contracts.result import RunResult
from rilbench.store.files import read_json
from rilbench.store.layout import Store
from rilbench_mlflow.shown import START, clean, shown_as

AVERAGE = "summary/average gain percent - higher is better"


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
    row, shown = result.matrix.rows[stage], shown_as(result)
    values = {shown[name].key("eval"): shown[name].of(value) for name, value in row.values.items()}
    values |= _forgotten(result, stage, "forgetting")
    return [*_points(values, stage, _measured(store, result, stage)), *_training(store, result, stage)]


def final_points(store: Path, result: RunResult) -> list[Point]:
    """The base and the last row, the forgetting over the whole run and the average, at step 0: single values show as
    bars."""
    matrix, shown = result.matrix, shown_as(result)
    values: dict[str, float] = {}
    for section, row in ((START, matrix.rows[0]), ("final", matrix.rows[-1])):
        values |= {shown[name].key(section): shown[name].of(value) for name, value in row.values.items()}
    values |= _forgotten(result, len(matrix.rows) - 1, "final_forgetting")
    values[AVERAGE] = 100 * matrix.average()
    return list(_points(values, 0, _measured(store, result, -1)))


def _forgotten(result: RunResult, stage: int, section: str) -> dict[str, float]:
    """What a table shows of the forgetting after a stage."""
    matrix, shown = result.matrix, shown_as(result)
    kept = [info.name for info in matrix.metrics if not matrix.masked(info.name, stage)]
    return {shown[name].key(section): shown[name].of(matrix.forgetting(name, stage)) for name in kept}


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
    path = Store(store).stage(result.matrix.rows[stage].stage_id).record
    return (read_json(path), _written(path)) if path.exists() else ({}, 0)


def _updates(record: Mapping[str, Any]) -> int:
    return max((int(entry["update"]) for entry in record.get("log", ())), default=0)


def _measured(store: Path, result: RunResult, stage: int) -> int:
    return _written(Store(store).evaluation(result.matrix.rows[stage].evaluation).numbers)


def _written(path: Path) -> int:
    return int(path.stat().st_mtime * 1000) if path.exists() else 0


def _points(values: Mapping[str, float | None], step: int, time: int) -> Iterator[Point]:
    """A missing or infinite value is left out."""
    for key, value in values.items():
        if value is not None and math.isfinite(value):
            yield Point(clean(key), float(value), step, time)
