"""Durations of finished work in the store, for estimates of similar work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.store import stage_record
from rilbench.store.files import read_json
from rilbench.store.layout import EvaluationFiles, StageFiles, Store

MEASURED = "as long as the like took in this store"  # where an estimate comes from
PROBED = "from two timed forwards on this machine; rewards and metrics are left out"
NOTHING = "not known: nothing like it is in the store; --time measures it with two forwards"
Key = tuple[Any, ...]


class Timings:
    """Seconds of trainings and evaluations in a store: the median of similar ones, or None if there are none."""

    def __init__(self, store: Path) -> None:
        stages = [values for stage in Store(store).all_stages() for values in _trained(stage)]
        self._training = _medians(
            (key, s["seconds"] / samples) for s in stages for key, samples in _keys(s["document"])
        )
        measured = [files for stage in Store(store).all_stages() for files in stage.all_evaluations()]
        evaluations = [(files.folder.name, values) for files in measured for values in _measured(files)]
        self._evaluation = _medians(((identity,), values["seconds"]) for identity, values in evaluations)
        self._image = median([values["seconds"] / values["images"] for _, values in evaluations] or [math.nan])

    def training(self, document: Mapping[str, Any]) -> float | None:
        """Of a stage, by the document of its identity."""
        for key, samples in _keys(document):
            if key in self._training:
                return self._training[key] * samples
        return None

    def evaluation(self, identity: str, images: int) -> float | None:
        """Of an evaluation: as the same one, or by the number of images as any took."""
        known = self._evaluation.get((identity,), self._image * images)
        return None if math.isnan(known) else known


def _keys(document: Mapping[str, Any]) -> Iterator[tuple[Key, int]]:
    """What trainings with the same time per sample have in common, from narrow to wide, each with the samples."""
    train = document["train"]
    like = (str(document["model"]), train["batch_size"], train["last_steps"])
    strategy, rewards = document["strategy"]["name"], tuple(reward["name"] for reward in document["rewards"])
    for key in ((*like, strategy, rewards), (*like, strategy), like):
        yield key, train["samples"]


def _medians(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    values: dict[Key, list[float]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: median(found) for key, found in values.items()}


def _trained(files: StageFiles) -> list[dict[str, Any]]:
    """The record of a training with its duration; None if it is damaged, because an estimate should not fail."""
    try:
        record = stage_record.read(files.folder)
        return [record] if record["seconds"] and list(_keys(record["document"])) else []
    except (ConfigError, LookupError, TypeError):
        return []


def _measured(files: EvaluationFiles) -> list[dict[str, Any]]:
    """The numbers of an evaluation, likewise."""
    try:
        return [read_json(files.numbers, like={"seconds": float, "images": int})]
    except ConfigError:
        return []
