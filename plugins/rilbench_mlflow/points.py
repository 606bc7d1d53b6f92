"""The numbers of a run as MLflow shows them: the part of a name before the last `/` is its section of charts; names
contain letters, digits, spaces and `_-./`; charts show two decimals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.contracts.result import MetricInfo, RunResult
from rilbench.store.files import read_json
from rilbench.store.layout import Store

LOWER, HIGHER = "lower is better", "higher is better"
START = "start"  # the section of the base model's values; MLflow sorts sections; this one comes after `final`
LARGEST = 10**9  # factor


@dataclass(frozen=True)
class Shown:
    """A metric's name with its factor, unit and direction, such as `hps x100 - higher is better`."""

    info: MetricInfo
    factor: int

    def key(self, section: str) -> str:
        """The name in a section; for forgetting, lower is better for every metric."""
        better = HIGHER if self.info.higher_is_better and "forgetting" not in section else LOWER
        unit = self.info.unit.replace("%", "percent").replace("/", " per ")
        parts = [self.info.name, f"x{self.factor}" if self.factor > 1 else "", unit]
        return clean(f"{section}/{' '.join(filter(None, parts))} - {better}")

    def of(self, value: float) -> float:
        """The logged value, without the rounding errors of the factor; `result.json` has exact values."""
        return value if self.factor == 1 else float(f"{value * self.factor:.10g}")


def shown_as(result: RunResult) -> dict[str, Shown]:
    """How each metric of a run is shown. The factor depends on the base model's value, which compared runs share."""
    base = result.matrix.rows[0].values if result.matrix.rows else {}
    return {info.name: Shown(info, factor(base.get(info.name, 0.0))) for info in result.matrix.metrics}


def factor(base: float) -> int:
    """1 for values above 1; else the least power of ten that makes the base exceed 10, to show four digits."""
    if not isfinite(base) or base == 0 or abs(base) > 1:
        return 1
    power = 1
    while abs(base) * power <= 10 and power < LARGEST:
        power *= 10
    return power


def gain_key(reward: Shown) -> str:
    """The name of a reward's gain from the base to the last stage: higher is better for every reward."""
    return Shown(replace(reward.info, higher_is_better=True), reward.factor).key("gain")


def clean(key: str) -> str:
    """A name as MLflow allows it: other characters become underscores."""
    return re.sub(r"[^\w./ -]", "_", key)


class Point(NamedTuple):
    """A value of a curve; `time` in ms since 1970.

    The time is when the work was done, read from disk: MLflow drops a point that it already has with the same time and
    step, so an interrupted stage can be sent again completely.
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
    """The base, the last row, the forgetting over the whole run and the gain of every trained reward, at step 0: MLflow
    shows single values as bars."""
    matrix, shown = result.matrix, shown_as(result)
    values: dict[str, float] = {}
    for section, row in ((START, matrix.rows[0]), ("final", matrix.rows[-1])):
        values |= {shown[name].key(section): shown[name].of(value) for name, value in row.values.items()}
    values |= _forgotten(result, len(matrix.rows) - 1, "final_forgetting")
    values |= {gain_key(shown[name]): shown[name].of(matrix.left(name)) for name in matrix.trained_rewards()}
    return list(_points(values, 0, _measured(store, result, -1)))


def _forgotten(result: RunResult, stage: int, section: str) -> dict[str, float]:
    """The forgetting after a stage, as far as tables show it."""
    matrix, shown = result.matrix, shown_as(result)
    kept = [info.name for info in matrix.metrics if not matrix.masked(info.name, stage)]
    return {shown[name].key(section): shown[name].of(matrix.forgetting(name, stage)) for name in kept}


def _training(store: Path, result: RunResult, stage: int) -> Iterator[Point]:
    before = sum(_updates(_stage_file(store, result, i)[0]) for i in range(stage))
    record, written = _stage_file(store, result, stage)
    total = _updates(record)
    for entry in record.get("log", ()):
        left = 1 - entry["update"] / total
        values = {f"train/{_allowed(key)}": value for key, value in entry.items() if key != "update"}
        yield from _points(values, before + entry["update"], written - round(1000 * left * record.get("seconds", 0.0)))


def _allowed(key: str) -> str:
    """A term's name as MLflow takes it: that of an expression over rewards has signs that it refuses."""
    return re.sub(r"[^\w./ -]+", "_", key)


def _stage_file(store: Path, result: RunResult, stage: int) -> tuple[Mapping[str, Any], int]:
    """A stage's record and its time in ms; empty for the base model and merged stages."""
    path = Store(store).stage(result.matrix.rows[stage].stage_id).record
    return (read_json(path), _written(path)) if path.exists() else ({}, 0)


def _updates(record: Mapping[str, Any]) -> int:
    return max((int(entry["update"]) for entry in record.get("log", ())), default=0)


def _measured(store: Path, result: RunResult, stage: int) -> int:
    return _written(Store(store).evaluation(result.matrix.rows[stage].evaluation).numbers)


def _written(path: Path) -> int:
    return int(path.stat().st_mtime * 1000) if path.exists() else 0


def _points(values: Mapping[str, float | None], step: int, time: int) -> Iterator[Point]:
    """Points of the finite values; others are left out."""
    for key, value in values.items():
        if value is not None and isfinite(value):
            yield Point(clean(key), float(value), step, time)
