"""A planned stage: what is needed to train it, or to find it in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rilbench.contracts.result import RunResult
from rilbench.contracts.strategy import Stage
from rilbench.store.layout import RunFiles, Store
from rilbench.training.config import TrainConfig

Chain = tuple[tuple[str, float], ...]  # (stage identity, coefficient): the pairs that make the model


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """A stage with all that is needed to train it or find it in the store. `train` is None if nothing is trained.

    kept: it is a stage of the run that this one continues, which is never trained here; `trained_with` are the
        settings of its training, None for a merge.
    """

    stage: Stage
    id: str
    document: dict[str, Any]
    below: Chain  # the frozen pairs it trains on
    chain: Chain  # the model after it
    by: str = ""
    initial: str | None = None  # the stage whose pair it continues; None starts a new pair
    index: int = 0  # how many stages were trained to get here, this one and those in the base model included
    train: TrainConfig | None = None
    kept: bool = False
    trained_with: TrainConfig | None = None

    @property
    def training(self) -> TrainConfig | None:
        """The settings of its training, here or in the run that is continued."""
        return self.train or self.trained_with


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The stages of the run that another one continues, without the base model, and the result up to the last one."""

    result: RunResult
    stages: tuple[PlannedStage, ...]
    rewards: tuple[str, ...]  # in training order
    model: Mapping[str, Any]  # what its base model was, as in `identity.base_document`

    @property
    def folder(self) -> Path:
        """The folder of the run that is continued."""
        assert self.result.folder is not None
        return self.result.folder

    @property
    def store(self) -> Store:
        """The store that contains its stages."""
        return RunFiles(self.folder).store

    @property
    def targets(self) -> tuple[str, ...]:
        """The layers that its stages adapt, as `adapter.targets` names them."""
        return tuple(dict.fromkeys(t for s in self.stages for t in s.document.get("adapter", {}).get("targets", ())))

    def label(self, strategy: str) -> str:
        """The name in tables of a run that continues it with a strategy: the same if it is the same strategy."""
        earlier = self.result.label
        return earlier if earlier.rpartition(THEN)[2] == strategy else f"{earlier}{THEN}{strategy}"


THEN = "-then-"
