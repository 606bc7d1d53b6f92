"""What happens while a stage trains, for hook plugins. If none has a hook for it, nothing is computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rilbench.contracts.progress import Picture, Progress
from rilbench.contracts.result import RunResult
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.host.hook_caller import HookCaller
from rilbench.store import stage_record
from rilbench.training.config import TrainConfig


class StageEvents:
    """What happens in a stage; by default nothing is done about it."""

    def update(self, update: int, values: Mapping[str, float]) -> None:
        """An update is done, with what it logs."""

    def validated(self, update: int, values: Mapping[str, float], pictures: Sequence[Picture]) -> None:
        """A validation is done."""


class RunEvents:
    """What happens in a run; by default nothing is done about it."""

    def stage(self, planned: PlannedStage, train: TrainConfig) -> StageEvents:
        """A stage whose training begins."""
        return StageEvents()


NO_EVENTS = RunEvents()


class HookEvents(RunEvents):
    """Passes on what happens in a run to its hooks; `result` has the rows so far."""

    def __init__(self, hooks: HookCaller, folder: Path, loaded: LoadedModel, result: RunResult) -> None:
        self.hooks, self.folder, self.loaded, self.result = hooks, folder, loaded, result

    def stage(self, planned: PlannedStage, train: TrainConfig) -> StageEvents:
        if not (self.hooks.listens("update_finished") or self.hooks.listens("validated")):
            return StageEvents()
        row = self.loaded.plan.index(planned)
        before = stage_record.steps(self.loaded.files(each).folder for each in self.loaded.plan[:row])
        return StageHookEvents(self, planned, train, row, before)


class StageHookEvents(StageEvents):
    """Measures the speed of the updates, without the time that hooks and validations take.

    before: updates of the stages before it.
    """

    def __init__(
        self,
        live: HookEvents,
        planned: PlannedStage,
        train: TrainConfig,
        row: int,
        before: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live, self.label, self.train, self.row, self.before = live, planned.stage.label, train, row, before
        self.speed, self.clock = _Speed(), clock
        self.begun = clock()

    def update(self, update: int, values: Mapping[str, float]) -> None:
        seconds = self.clock() - self.begun
        shown = {key: value for key, value in values.items() if key != "update"} | {
            "lr": values.get("lr", self.train.lr)
        }
        shown |= self.speed.after(seconds, self.train.batch_at(update - 1), self.train.updates - update)
        shown |= {"memory_gb": memory(self.live.loaded.components.device)}
        self._call("update_finished", self._progress(update, shown))

    def validated(self, update: int, values: Mapping[str, float], pictures: Sequence[Picture]) -> None:
        self._call("validated", self._progress(update, values), pictures=tuple(pictures))

    def _progress(self, update: int, values: Mapping[str, float]) -> Progress:
        total, step = self.train.updates, self.before + update
        return Progress(stage=self.row, label=self.label, update=update, updates=total, step=step, values=dict(values))

    def _call(self, hook: str, progress: Progress, **more: object) -> None:
        self.live.hooks.call(hook, folder=self.live.folder, result=self.live.result, progress=progress, **more)
        self.begun = self.clock()


@dataclass
class _Speed:
    """The mean speed since the training began or was resumed."""

    seconds: float = 0.0
    updates: int = 0

    def after(self, seconds: float, images: int, left: int) -> dict[str, float]:
        """What to tell of an update of these seconds and images, with so many left."""
        self.seconds, self.updates = self.seconds + seconds, self.updates + 1
        return {"images_per_second": images / max(seconds, 1e-9), "seconds_left": left * self.seconds / self.updates}


def memory(device: str) -> float:
    """The most that tensors have taken on a GPU, or what this process takes, in GB of 1e9 bytes."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e9
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9
