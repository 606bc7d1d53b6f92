"""What the missing work of a study will cost: as long as the like took that is in the store, or two timed forwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rilbench.errors import ConfigError
from rilbench.prompts import read_prompts
from rilbench.store import read_json
from rilbench.study.cells import Cell, Work

Key = tuple[Any, ...]


class Estimates:
    """Seconds of work. `measured` says whether all of them come from the store."""

    def __init__(self, store: Path) -> None:
        self.measured = True
        stages = [values for path in store.glob("stages/*/stage.json") for values in _read(path)]
        self._training = _medians(
            (key, s["seconds"] / samples) for s in stages for key, samples in _keys(s["document"])
        )
        files = store.glob("stages/*/evaluations/*/metrics.json")
        self._evaluation = _medians(((p.parent.name,), values["seconds"]) for p in files for values in _read(p))
        self._probes: dict[Any, Any] = {}

    def seconds(self, cell: Cell, work: Work) -> float:
        """How long a piece of a cell's work takes."""
        if not work.training:
            known = self._evaluation.get((cell.evaluation,))
            return self._probed(cell, work) if known is None else known
        for key, samples in _keys(work.planned.document):
            if key in self._training:
                return self._training[key] * samples
        return self._probed(cell, work)

    def _probed(self, cell: Cell, work: Work) -> float:
        """From two timed forwards of the cell's model; rewards and metrics are left out."""
        from rilbench.model.text_to_image import TextToImage
        from rilbench.training.cost import measure

        self.measured = False
        model, steps = cell.config.model, cell.config.model.steps
        if model not in self._probes:
            self._probes[model] = measure(TextToImage.load(model))
        cost, train = self._probes[model], work.planned.train
        if work.training and train is not None:
            return float(cost.training(train.samples, steps, train.last_steps))
        images = len(read_prompts(cell.config.evaluate.prompts)) * cell.config.evaluate.images_per_prompt
        return float(cost.sampling(images, steps))


def _keys(document: Mapping[str, Any]) -> Iterator[tuple[Key, int]]:
    """What trainings have in common that take equally long for a sample, from narrow to wide, each with the samples."""
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


def _read(path: Path) -> list[dict[str, Any]]:
    """A file's values, or none when it is damaged: an estimate is not worth an error."""
    try:
        return [read_json(path)]
    except ConfigError:
        return []
