"""Durations of finished work in the store, for estimates of similar work."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.store import stage_record
from rilbench.store.files import read_json
from rilbench.store.layout import Store

MEASURED = "from similar work in this store"  # where an estimate comes from
PROBED = "from two timed forward passes on this machine; without rewards and metrics"
NOTHING = "unknown: the store has no similar work; --time estimates it with two forward passes"
Key = tuple[Any, ...]


class Timings:
    """Seconds of trainings and evaluations in a store: the median of similar ones, or None if there are none."""

    def __init__(self, store: Path) -> None:
        training, evaluation = defaultdict[Key, list[float]](list), defaultdict[str, list[float]](list)
        images = []
        for stage in Store(store).all_stages():
            with suppress(ConfigError, LookupError, TypeError):  # a damaged record: an estimate should not fail
                record = stage_record.read(stage.folder)
                for key, samples in list(_keys(record["document"])) if record["seconds"] else []:
                    training[key].append(record["seconds"] / samples)
            for files in stage.all_evaluations():
                with suppress(ConfigError):
                    values = read_json(files.numbers, like={"seconds": float, "images": int})
                    evaluation[files.folder.name].append(values["seconds"])
                    images.append(values["seconds"] / values["images"])
        self._training = {key: median(found) for key, found in training.items()}
        self._evaluation = {key: median(found) for key, found in evaluation.items()}
        self._image = median(images or [math.nan])

    def training(self, document: Mapping[str, Any]) -> float | None:
        """Seconds to train a stage, by the document of its identity."""
        known = (self._training[key] * samples for key, samples in _keys(document) if key in self._training)
        return next(known, None)

    def evaluation(self, identity: str, images: int) -> float | None:
        """Seconds of an evaluation: those of the same evaluation, or estimated from the number of images."""
        known = self._evaluation.get(identity, self._image * images)
        return None if math.isnan(known) else known


def _keys(document: Mapping[str, Any]) -> Iterator[tuple[Key, int]]:
    """Keys of trainings with a similar time per sample, from narrow to wide, each with the number of samples."""
    train = document["train"]
    like = (str(document["model"]), train["batch_size"], train["last_steps"])
    strategy, rewards = document["strategy"]["name"], tuple(map(_item, document["rewards"]))
    for key in ((*like, strategy, rewards), (*like, strategy), like):
        yield key, train["samples"]


def _item(reward: Mapping[str, Any]) -> str:
    """The name, or the expression, that a stage was trained on."""
    return str(reward.get("expression") or reward["name"])
