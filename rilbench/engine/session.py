"""Trains and measures the stages that the store does not have completely."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property

from torch import Tensor

from rilbench.contracts.errors import DamagedError
from rilbench.contracts.expression import names_in
from rilbench.contracts.result import Row, RunResult
from rilbench.engine import identity
from rilbench.engine.live import NO_EVENTS, RunEvents
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.engine.training import Training
from rilbench.evaluation.evaluate import evaluate, first_images
from rilbench.evaluation.images import KeptImages, written
from rilbench.evaluation.intervals import FEW
from rilbench.evaluation.kept import KeptEvaluation
from rilbench.evaluation.unfinished import Unfinished
from rilbench.model.reading import groups
from rilbench.store import stage_record, temporary
from rilbench.store.grid import save_picture
from rilbench.store.locks import locked
from rilbench.training.summary import summarised

LESS = "lower evaluate.batch_size or set model.vae_slicing=true"


class Session:
    """Trains planned stages, and measures them with every metric on the same prompts and noise.

    earlier: the finished result of the same run, if there is one. live: what is done about the events of a stage.
    """

    def __init__(self, loaded: LoadedModel, *, earlier: RunResult | None = None, live: RunEvents = NO_EVENTS) -> None:
        self.loaded, self.training = loaded, Training(loaded, earlier, live)
        self._counted = False

    def row(self, planned: PlannedStage) -> Row:
        """The row of a stage, from the store; what is missing or damaged is trained or measured first."""
        kept = self._kept(planned)
        measured = kept.exists and not kept.damage() and not kept.absent_pictures()
        if not (measured and self.training.whole(planned)):
            folder = self.loaded.files(planned).folder
            with locked(folder, self.loaded.reporter.waiting):
                temporary.sweep(folder, alone=True)
                temporary.sweep(kept.files.folder, alone=True)
                self.training.complete(planned)
                self._measure(planned)
        elif kept.files.unfinished.exists():  # left by a process that ended just after writing its numbers
            temporary.remove(kept.files.unfinished)
        numbers, seconds, training = kept.numbers(), 0.0, dict[str, float]()
        if train := planned.training:
            record = stage_record.read(self.loaded.files(planned).folder)
            seconds, training = record["seconds"], summarised(record["log"], train)
        return Row(
            label="base" if planned is self.loaded.plan[0] else planned.stage.label,
            rewards=names_in(planned.stage.rewards),
            stage_id=planned.id,
            evaluation=self.loaded.store.relative(kept.files.folder),
            values={k: float("nan") if v is None else v for k, v in numbers["values"].items()},
            intervals={k: (v[0], v[1]) for k, v in numbers["intervals"].items()},
            sds=kept.sds(),
            train_seconds=seconds,
            evaluate_seconds=numbers["seconds"],
            training=training,
        )

    def evaluations(self) -> list[str]:
        """The folders of all stages' evaluations, relative to the store."""
        return [self.loaded.store.relative(self._kept(planned).files.folder) for planned in self.loaded.plan]

    @cached_property
    def evaluation(self) -> str:
        """The name of the folder of every stage's evaluation: a hash of metrics and evaluation settings."""
        return identity.digest(self.loaded.evaluation_document)

    def _kept(self, planned: PlannedStage) -> KeptEvaluation:
        """The stored evaluation of a stage."""
        pictures = min(self.loaded.config.evaluate.pictures, len(self.loaded.prompts))
        return KeptEvaluation(self.loaded.files(planned).evaluation(self.evaluation), pictures)

    def _measure(self, planned: PlannedStage) -> None:
        """Measure a stage, or draw its images, if they are missing or damaged."""
        kept = self._kept(planned)
        why = kept.damage() if kept.exists else ""
        if why:
            self.loaded.reporter.warn(f"{why} The stage is measured again")
        if why or not kept.exists:
            with self.loaded.enough_memory(f"measuring after {self.loaded.origin(planned).after}", LESS):
                self._evaluate(planned, kept)
        elif absent := kept.absent_pictures():
            with self.loaded.enough_memory(f"drawing after {self.loaded.origin(planned).after}", LESS):
                self._draw(planned, kept, absent)

    def _draw(self, planned: PlannedStage, kept: KeptEvaluation, absent: Sequence[int]) -> None:
        loaded = self.loaded
        loaded.reporter.say(f"drawing {len(absent)} images that are missing or damaged in {kept.files.folder}")
        loaded.load(planned.chain)
        prompts = [loaded.prompts[number] for number in absent]
        drawn = first_images(loaded.model, prompts, loaded.config.evaluate, loaded.origin(planned))
        for number, pixels in zip(absent, drawn, strict=True):
            save_picture(kept.files.picture(number), pixels)

    def _evaluate(self, planned: PlannedStage, kept: KeptEvaluation) -> None:
        loaded, files = self.loaded, kept.files
        metrics = {name: loaded.components.metric(name) for name in loaded.columns}
        compared = any(metric.needs_base for metric in metrics.values())
        is_base = planned is loaded.plan[0]
        base = self._base_images if compared and not is_base else None
        loaded.load(planned.chain)
        self._count_prompts()
        images = written(files.images, loaded.images) if compared and is_base else nullcontext(_forget)
        unfinished = Unfinished(
            files.unfinished, batch_size=loaded.config.evaluate.batch_size, warn=loaded.reporter.warn
        )
        start = time.perf_counter()
        doing = f"measuring after {planned.stage.label if planned.stage.rewards else 'model'}"
        with loaded.reporter.work(doing, "image", f"{planned.id}/{files.folder.name}") as advance, images as keep:
            result = evaluate(
                loaded.model,
                loaded.prompts,
                metrics,
                loaded.config.evaluate,
                origin=loaded.origin(planned),
                base_images=base,
                images=unfinished,
                keep=keep,
                on_batch=advance,
            )
        kept.write(result, seconds=time.perf_counter() - start, images=loaded.images)
        unfinished.remove()

    def _count_prompts(self) -> None:
        """Warn once if there are too few prompts for intervals."""
        if self._counted:
            return
        self._counted = True
        loaded = self.loaded
        if (count := len(set(groups(loaded.model.readings(loaded.prompts))))) < FEW:
            told = f"{loaded.setting} ({loaded.prompts_file}): {count} different prompts"
            loaded.reporter.warn(f"{told}; 95 % intervals are not reliable with fewer than {FEW}")

    @cached_property
    def _base_images(self) -> KeptImages:
        """The base model's evaluation images, read one batch at a time; generated again if missing or damaged."""
        base = self.loaded.plan[0]
        kept = self._kept(base)
        with locked(self.loaded.files(base).folder, self.loaded.reporter.waiting):
            try:
                return KeptImages(kept.files.images, self.loaded.images)
            except DamagedError as error:
                self.loaded.reporter.warn(f"{error} This is done now")
                self._evaluate(base, kept)
                return KeptImages(kept.files.images, self.loaded.images)


def _forget(pixels: Tensor) -> None:
    """For images that no metric compares others with."""
