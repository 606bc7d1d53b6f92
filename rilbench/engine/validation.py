"""Validation while a stage trains: images of a few prompts, and what quick metrics say of them.

Its prompts are of a file of its own and its noise is keyed by ("validation", prompt): the same at every validation, in
every stage and for every seed, and apart from what training and evaluation draw. So training has the same numbers, bit
by bit, with and without it.
"""

from __future__ import annotations

from typing import Any

import torch

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.progress import Picture
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.parts import Parts
from rilbench.engine.planned import PlannedStage
from rilbench.evaluation.config import EvaluateConfig
from rilbench.evaluation.evaluate import Origin, evaluate
from rilbench.files.prompts import evaluation_prompts, prompts_fingerprint
from rilbench.model.randomness import validation_noise
from rilbench.store.grid import save_picture
from rilbench.training.config import TrainConfig


def metrics(parts: Parts, train: TrainConfig) -> list[str]:
    """The names of what a validation measures. ConfigError for a metric that the run does not measure, or that compares
    with the base model's images."""
    measured = parts.metric_names()
    chosen = list(train.validate_metrics) or [name for name in measured if parts.metric_kind(name) == "reward"]
    for name in chosen:
        if name not in measured:
            raise ConfigError(f"train.validate_metrics: {name!r} is not measured; add it to evaluate.metrics")
        if parts.metric_kind(name) == "metric" and parts.get("metric", name).cls.needs_base:
            raise ConfigError(
                f"train.validate_metrics: {name!r} compares with the base model's images, which a validation does not "
                "have; leave it out"
            )
    for key, name in train.decided_by.items():
        if name not in chosen:
            raise ConfigError(f"train.{key}: {unknown('validation metric', name, chosen)}")
    return chosen


def document(parts: Parts, train: TrainConfig) -> dict[str, Any]:
    """What determines the validations that decide a stage's weights."""
    decisive = sorted(set(train.decided_by.values()) & set(metrics(parts, train)))
    return {
        "every": train.validate_every,
        "images": train.validate_images,
        "prompts": prompts_fingerprint(train.validate_prompts),
        "metrics": [parts.column(name).document for name in decisive],
    }


class Validation:
    """The validations of a stage, on the model in training. Their images are in the stage's folder in the store."""

    def __init__(self, loaded: LoadedModel, planned: PlannedStage, train: TrainConfig) -> None:
        self.loaded, self.planned, self.train = loaded, planned, train
        self.files = loaded.files(planned)
        self.prompts = evaluation_prompts(train.validate_prompts)[: train.validate_images]
        names = metrics(loaded.components.parts, train)
        self.metrics = {name: loaded.components.metric(name) for name in names}
        self.config = EvaluateConfig(
            images_per_prompt=1, batch_size=train.micro_batch or train.batch_size, pictures=len(self.prompts)
        )
        if shared := len(set(self.prompts) & set(loaded.prompts)):
            loaded.reporter.warn(
                f"{shared} of the {len(self.prompts)} validation prompts are in evaluate.prompts too, so settings that "
                "are chosen by looking at validations are measured on the prompts they were chosen on"
            )

    def after(self, update: int) -> tuple[dict[str, float], list[Picture]]:
        """The mean of each metric after an update, and the images."""
        devices = range(torch.cuda.device_count()) if self.loaded.components.device.startswith("cuda") else ()
        where = f"update {update} of stage {self.planned.index} ({self.planned.stage.label})"
        with torch.random.fork_rng(devices), self.loaded.group.folded():  # a metric may draw from torch's generator
            result = evaluate(
                self.loaded.model,
                self.prompts,
                self.metrics,
                self.config,
                origin=Origin.of(where, trained=True),
                noise=validation_noise,
            )
        pictures = []
        for number, (prompt, pixels) in enumerate(zip(self.prompts, result.pictures, strict=True)):
            path = self.files.validation_picture(update, number)
            save_picture(path, pixels)
            pictures.append(Picture(prompt=prompt.label, path=path))
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in result.values.items())
        self.loaded.reporter.say(f"validation after update {update}: {numbers}; images in {self.files.validation}")
        return result.values, pictures
