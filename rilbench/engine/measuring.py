"""A stage's evaluation: its numbers, scores and pictures, made when the store does not have them whole."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import cached_property

from torch import Tensor

from rilbench.contracts.errors import DamagedError
from rilbench.engine import identity
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.plan import PlannedStage
from rilbench.evaluation.evaluate import evaluate
from rilbench.evaluation.images import KeptImages, written
from rilbench.evaluation.kept import KeptEvaluation
from rilbench.store.locks import locked

LESS = "lower evaluate.batch_size or set model.vae_slicing=true"


class Measuring:
    """Measures planned stages with every metric, on the same prompts and noise."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.config, self.warn = loaded, loaded.config.evaluate, loaded.reporter.warn

    def kept(self, planned: PlannedStage) -> KeptEvaluation:
        """What is kept of a stage's evaluation; its folder's name is the hash of what is measured and on what."""
        name = identity.digest(self.loaded.components.parts.evaluation_document)
        pictures = min(self.config.pictures, len(self.loaded.prompts))
        return KeptEvaluation(self.loaded.files(planned).evaluation(name), pictures)

    def whole(self, planned: PlannedStage) -> bool:
        """Whether the store has all that an evaluation leaves."""
        kept = self.kept(planned)
        return kept.exists and not kept.damage()

    def complete(self, planned: PlannedStage) -> None:
        """Make the evaluation of a stage, if anything of it is missing or damaged."""
        kept = self.kept(planned)
        why = kept.damage() if kept.exists else ""
        if why:
            self.warn(f"{why} The stage is measured again")
        if why or not kept.exists:
            with self.loaded.enough_memory(f"measuring after {self.loaded.origin(planned).after}", LESS):
                self._evaluate(planned, kept)

    def _evaluate(self, planned: PlannedStage, kept: KeptEvaluation) -> None:
        loaded, files = self.loaded, kept.files
        metrics = {name: loaded.components.metric(name) for name in loaded.components.parts.columns()}
        compared = any(metric.needs_base for metric in metrics.values())
        is_base = planned is loaded.plan[0]
        base = self._base_images if compared and not is_base else None
        loaded.load(planned.chain)
        images = written(files.images, loaded.images) if compared and is_base else nullcontext(_forget)
        start = time.perf_counter()
        label = planned.stage.label if planned.stage.rewards else "model"
        with loaded.reporter.evaluation(label, f"{planned.id}/{files.folder.name}") as on_batch, images as keep:
            result = evaluate(
                loaded.model,
                loaded.prompts,
                metrics,
                self.config,
                origin=loaded.origin(planned),
                base_images=base,
                keep=keep,
                on_batch=on_batch,
            )
        kept.write(result, seconds=time.perf_counter() - start, images=loaded.images)

    @cached_property
    def _base_images(self) -> KeptImages:
        """The base model's evaluation images, read a batch at a time; made again when they are gone or damaged."""
        base = self.loaded.plan[0]
        kept = self.kept(base)
        with locked(self.loaded.files(base).folder, self.loaded.reporter.waiting):
            try:
                return KeptImages(kept.files.images, self.loaded.images)
            except DamagedError as error:
                self.warn(f"{error} This is done now")
                self._evaluate(base, kept)
                return KeptImages(kept.files.images, self.loaded.images)


def _forget(pixels: Tensor) -> None:
    """For images that no metric will compare others with."""
