"""Measuring a run on training prompts too: an improvement that shows only there is overfitting.

An evaluation of its own, with the settings of the other one and the noise of its own prompts: `evaluate.train_prompts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import torch

from rilbench.contracts.prompt import Prompt
from rilbench.contracts.result import TRAIN, Row
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.engine.session import Session
from rilbench.files.prompts import read_prompts
from rilbench.model.adapters import AdapterGroup
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage

T = TypeVar("T")


class TrainSet(LoadedModel):
    """A loaded model that is measured on prompts of `train.prompts`: so many, chosen at random by the evaluation seed,
    each once and without its weight. No picture is kept."""

    setting = "evaluate.train_prompts"

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(loaded.config, loaded.components, loaded.plan, loaded.reporter)
        trained, measured = list(dict.fromkeys(read_prompts(self.config.train.prompts))), set(self.prompts)
        if shared := len(measured & set(trained)):
            loaded.reporter.warn(
                f"{shared} of the {len(measured)} prompts of evaluate.prompts are in train.prompts too, so they do not "
                "show what holds for other prompts"
            )
        evaluate = self.config.evaluate
        self.shared, self.prompts = loaded, chosen(trained, evaluate.train_prompts, evaluate.seed)
        self.config = replace(self.config, evaluate=replace(evaluate, pictures=0))

    @cached_property
    def model(self) -> TextToImage:
        return self.shared.model

    @cached_property
    def group(self) -> AdapterGroup:
        return self.shared.group

    @property
    def prompts_file(self) -> str:
        return self.config.train.prompts

    @property
    def columns(self) -> list[str]:
        return self.components.parts.train_columns()

    @property
    def evaluation_document(self) -> dict[str, Any]:
        return self.components.parts.train_document


class TrainSession(Session):
    """Measures the stages of a run on training prompts."""

    def joined(self, row: Row, planned: PlannedStage) -> Row:
        """A stage's row with the columns of the training prompts, `NAME@train`."""
        on_train = self.row(planned)
        keys = ("values", "intervals", "sds")
        parts: dict[str, Any] = {key: _both(getattr(row, key), getattr(on_train, key)) for key in keys}
        return replace(row, **parts, evaluate_seconds=row.evaluate_seconds + on_train.evaluate_seconds)


def chosen(prompts: list[Prompt], count: int, seed: int) -> list[Prompt]:
    """So many of the prompts, in their order; all if there are fewer."""
    order = torch.randperm(len(prompts), generator=generator_for("training prompts", seed))
    return [prompts[number] for number in sorted(order[:count].tolist())]


def _both(values: Mapping[str, T], on_train: Mapping[str, T]) -> dict[str, T]:
    return {**values, **{f"{name}{TRAIN}": value for name, value in on_train.items()}}
