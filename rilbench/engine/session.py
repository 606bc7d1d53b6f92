"""One process's work on stages: the model in memory, the stages in the store, and nothing done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from torch import Tensor

from rilbench.contracts.errors import DamagedError, DivergedError, MemoryFullError, is_out_of_memory, reason
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.result import Row, RunResult
from rilbench.engine import identity
from rilbench.engine.budget import growth, memory_check
from rilbench.engine.budget.memory import Memory, count, under
from rilbench.engine.budget.weights import check_weights
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig
from rilbench.engine.plan import Chain, PlannedStage
from rilbench.engine.progress import Reporter
from rilbench.evaluation.evaluate import ImagesError, batches, cause, evaluate, generate, images_after, to_pixels
from rilbench.evaluation.images import KeptImages, written
from rilbench.evaluation.kept import KeptEvaluation
from rilbench.files.prompts import evaluation_prompts, read_prompts
from rilbench.model.adapters import AdapterGroup
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.files import has_config, has_pair, load_pair, save_config, save_pair, why_no_pair
from rilbench.model.text_to_image import TextToImage
from rilbench.store import stage_record, temporary
from rilbench.store.files import unwritable
from rilbench.store.grid import save_picture
from rilbench.store.layout import StageFiles, Store
from rilbench.store.locks import locked
from rilbench.store.tensors import load_tensors, save_tensors
from rilbench.training.stage import StageTraining
from rilbench.training.step import WeightedReward

TRAINING = "lower train.micro_batch (the gradient stays) or set model.gradient_checkpointing=true"
EVALUATION = "lower evaluate.batch_size or set model.vae_slicing=true"


class Session:
    """Trains and evaluates planned stages; the model is loaded when the first one is not in the store."""

    def __init__(
        self,
        config: RunConfig,
        components: Components,
        plan: list[PlannedStage],
        reporter: Reporter,
        *,
        earlier: RunResult | None = None,
    ) -> None:
        """earlier: the finished result of the same run, when there is one."""
        self.config, self.components, self.plan, self.reporter = config, components, plan, reporter
        self.earlier = earlier
        self.store = Store(Path(config.store))
        self.prompts = evaluation_prompts(config.evaluate.prompts)
        self._loaded: Chain | None = None
        self._told_prompts = False

    @cached_property
    def model(self) -> TextToImage:
        self.reporter.say("loading the model")
        if self.config.check_memory:
            check_weights(self.config.model, self.components.device)
        with self.enough_memory("loading the model", memory_check.elsewhere(self.config.model)):
            model = TextToImage.load(self.config.model)
        self._tell_prompts(model)
        return model

    def _tell_prompts(self, model: TextToImage) -> None:
        """Warn, once, of prompts that the model does not read as they are in their files."""
        if self._told_prompts:
            return
        self._told_prompts = True
        files = {planned.train.prompts: "train.prompts" for planned in self.plan if planned.train}
        for path, setting in (*files.items(), (self.config.evaluate.prompts, "evaluate.prompts")):
            prompts = read_prompts(path)
            for text in model.remarks(prompts, f"{setting} ({path})"):
                self.reporter.warn(text)

    @property
    def prefix(self) -> str:
        """What the pipeline calls its denoiser."""
        return self.model.backbone.prefix

    @cached_property
    def group(self) -> AdapterGroup:
        return adapter_group(self.model.network, targets=self.config.adapter.targets)

    def check_memory(self) -> None:
        """ConfigError when what is not trained yet would not fit; nothing is loaded when everything is."""
        wanted = [p for p in self.plan if p.train is not None and not has_pair(self._folder(p.id))]
        if not wanted or not self.config.check_memory:
            return
        memory = self.count_memory(wanted)
        memory_check.check(
            self.config, self.work(wanted), memory, self.model.device, partial(self.count_memory, wanted)
        )

    def count_memory(self, stages: Sequence[PlannedStage], config: ModelConfig | None = None) -> Memory:
        """What one image needs in any of the stages, or would need under other settings of the model.

        All that stays loaded is made here, metrics too, so that the bytes free afterwards are free for the work.
        """
        self.reporter.say("counting the memory that one image takes")
        with self.enough_memory("loading rewards and metrics", memory_check.elsewhere(self.config.model)):
            rewards = {name: self.components.reward(name) for planned in stages for name in planned.stage.rewards}
            metrics = [self.components.metric(name) for name in self.components.columns()]
        trains = [planned.train for planned in stages if planned.train]
        prompt = read_prompts(trains[0].prompts)[0] if trains else ""
        last_steps = max((train.last_steps for train in trains), default=1)
        self._loaded = None
        with self.enough_memory("trying one image", memory_check.hopeless(self.config.model)):
            model = under(self.model, config) if config else self.model
            counted = partial(
                count, group=self.group, rewards=rewards, metrics=metrics, prompt=prompt, last_steps=last_steps
            )
            self._check_growth(model, counted)
            return counted(model)

    def _check_growth(self, model: TextToImage, counted: Callable[[TextToImage], Memory]) -> None:
        """MemoryFullError for a resolution whose forward would take hours, or more memory than there is."""
        backbone = model.backbone
        if backbone.latent_side <= backbone.own_side:
            return
        growth.check(
            lambda side: counted(under(model, replace(model.config, resolution=side))),
            own=backbone.own_side * backbone.pixels_per_latent,
            wanted=backbone.latent_side * backbone.pixels_per_latent,
            free=memory_check.free_bytes(model.device),
            place=model.device,
            remedy=memory_check.hopeless(model.config),
        )

    def work(self, stages: Sequence[PlannedStage]) -> memory_check.Work:
        """What takes memory in training stages and measuring: images at a time with rewards, prompts."""
        trains = [(planned.train, tuple(planned.stage.rewards)) for planned in stages if planned.train]
        steps = [(train.micro_batch or train.batch_size, rewards) for train, rewards in trains]
        prompts = {*self.prompts, *(prompt for train, _ in trains for prompt in read_prompts(train.prompts))}
        return memory_check.Work(steps, len(prompts), self._images)

    def row(self, planned: PlannedStage) -> Row:
        """The row of a stage: from the store, or trained and measured now; what is missing or damaged is made again."""
        folder = self._folder(planned.id)
        if not self._whole(planned):
            with locked(folder, self.reporter.waiting):
                temporary.sweep(folder, alone=True)
                self._make_pair(planned, folder)
                self._measure(planned)
        return self._read_row(planned)

    def _whole(self, planned: PlannedStage) -> bool:
        """Whether the store has all that a stage leaves, so that nothing is written and no lock is needed."""
        folder, kept = self._folder(planned.id), self.evaluation(planned)
        if self._has_pair(planned) and (why_no_pair(folder) or not has_config(folder)):
            return False
        if planned.train is not None and (stage_record.damage(folder) or StageFiles(folder).checkpoint.exists()):
            return False
        return kept.exists and not kept.damage() and not any(True for _ in kept.missing_pictures())

    def _has_pair(self, planned: PlannedStage) -> bool:
        """Whether the stage leaves a pair of its own."""
        return planned.train is not None or planned.stage.average == "factors"

    def _make_pair(self, planned: PlannedStage, folder: Path) -> None:
        """The pair of a stage, and the record of its training."""
        if not self._has_pair(planned):
            return
        weights = StageFiles(folder).weights
        if weights.is_dir():
            raise unwritable(weights, IsADirectoryError())
        if has_pair(folder) and (why := why_no_pair(folder)):
            self.reporter.warn(f"{why} This is done now")
            weights.unlink()
        if not has_pair(folder):
            if planned.train is None:
                save_pair(folder, LoraPair.averaged(self._pairs(planned.below)), self.config.adapter, self.prefix)
            else:
                with self.enough_memory(f"in {self._named(planned)}", TRAINING):
                    self._train(planned, folder)
        save_config(folder, self.config.adapter)
        StageFiles(folder).checkpoint.unlink(missing_ok=True)
        if planned.train is not None and (why := stage_record.damage(folder)):
            self.reporter.warn(f"{why}. It is written again without the curves of the training, which are lost")
            carry = StageFiles(folder).carry.exists()
            self._record(planned, seconds=self._earlier(planned).train_seconds, log=[], carry=carry)

    def _measure(self, planned: PlannedStage) -> None:
        """The evaluation of a stage, and its pictures."""
        kept = self.evaluation(planned)
        if kept.exists and (why := kept.damage()):
            self.reporter.warn(f"{why} The stage is measured again")
        if not kept.exists or kept.damage():
            with self.enough_memory(f"measuring after {self._named(planned)}", EVALUATION):
                self._evaluate(planned, kept)
        elif missing := list(kept.missing_pictures()):
            with self.enough_memory(f"drawing after {self._named(planned)}", EVALUATION):
                self._draw(planned, kept, missing)

    def _earlier(self, planned: PlannedStage) -> Row:
        """The row of a stage in the finished result; an empty one when there is none."""
        rows = self.earlier.matrix.rows if self.earlier else ()
        return next((row for row in rows if row.stage_id == planned.id), Row(label=planned.stage.label))

    @contextmanager
    def enough_memory(self, where: str, remedy: str) -> Iterator[None]:
        """MemoryFullError with a remedy when the memory is not enough within."""
        try:
            yield
        except MemoryFullError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            full = f"{self.components.device} ran out of memory {where}"
            raise MemoryFullError(f"{full}. Finished work is kept; {remedy}. ({reason(error)[:200]})") from error

    def _folder(self, identity: str) -> Path:
        return self.store.stage(identity).folder

    def evaluations(self) -> list[str]:
        """The folders of all stages' evaluations, relative to the store."""
        return [self.store.relative(self.evaluation(planned).files.folder) for planned in self.plan]

    def evaluation(self, planned: PlannedStage) -> KeptEvaluation:
        """What is kept of a stage's evaluation; its folder's name is the hash of what is measured and on what."""
        name = identity.digest(self.components.evaluation_document())
        return KeptEvaluation(
            self.store.stage(planned.id).evaluation(name), min(self.config.evaluate.pictures, len(self.prompts))
        )

    def _train(self, planned: PlannedStage, folder: Path) -> None:
        assert planned.train is not None
        self._load(planned.below)
        rewards = {name: self.components.reward(name) for name in planned.stage.rewards}
        before = self._folder(planned.initial or (planned.below[-1][0] if planned.below else ""))
        with self.reporter.stage(planned.index, planned.stage.label, planned.id) as on_update:
            training = StageTraining(
                model=self.model,
                group=self.group,
                strategy=self.components.new_strategy(planned.by),
                stage=planned.stage,
                index=planned.index,
                reward=WeightedReward(rewards, planned.stage.rewards),
                config=planned.train,
                prompts=read_prompts(planned.train.prompts),
                rank=self.config.adapter.rank,
                init=self.config.adapter.init,
                seed=self.config.seed,
                checkpoint=StageFiles(folder).checkpoint,
                warn=self.reporter.warn,
                initial=load_pair(before, self.model.device) if planned.initial else None,
                carry=self._carry(before),
                on_update=on_update,
            )
            start = time.perf_counter()
            pair = training.run()
        seconds = time.perf_counter() - start
        self._loaded = None
        left = training.carry_left()
        self._record(planned, seconds=seconds, log=training.log, carry=bool(left))
        if left:
            save_tensors(StageFiles(folder).carry, left)
        save_pair(folder, pair, self.config.adapter, self.prefix)

    def _record(
        self, planned: PlannedStage, *, seconds: float, log: Sequence[Mapping[str, float]], carry: bool
    ) -> None:
        """Write the record of a stage's training."""
        stage_record.write(
            self._folder(planned.id),
            label=planned.stage.label,
            document=planned.document,
            seconds=seconds,
            log=log,
            carry=carry,
        )

    def _carry(self, before: Path) -> dict[str, Tensor] | None:
        """What the strategy left at the end of the stage in a folder; DamagedError when it is gone.

        The base and averaged factors have no record: no strategy trained them.
        """
        trained = {self._folder(planned.id) for planned in self.plan if planned.train}
        left = before in trained and stage_record.read(before)["carry"]
        return (
            load_tensors(StageFiles(before).carry, f"Delete {before} and repeat the run's command.") if left else None
        )

    def _evaluate(self, planned: PlannedStage, evaluation: KeptEvaluation) -> None:
        metrics = {name: self.components.metric(name) for name in self.components.columns()}
        compared = any(metric.needs_base for metric in metrics.values())
        is_base = planned is self.plan[0]
        base = self._base_images if compared and not is_base else None
        self._load(planned.chain)
        files = evaluation.files
        kept = written(files.images, self._images) if compared and is_base else nullcontext(_forget)
        start = time.perf_counter()
        label = planned.stage.label if planned.stage.rewards else "model"
        with (
            self.reporter.evaluation(label, f"{planned.id}/{files.folder.name}") as on_batch,
            kept as keep,
            self._finite(planned),
        ):
            try:
                result = evaluate(
                    self.model,
                    self.prompts,
                    metrics,
                    self.config.evaluate,
                    base_images=base,
                    keep=keep,
                    on_batch=on_batch,
                )
            except ImagesError:
                raise
            except DivergedError as error:
                raise DivergedError(f"{error}, measured after {self._named(planned)}") from None
        evaluation.write(result, seconds=time.perf_counter() - start, images=self._images)

    def _draw(self, planned: PlannedStage, kept: KeptEvaluation, missing: Sequence[int]) -> None:
        """Pictures that are gone, once more."""
        self.reporter.warn(
            f"{len(missing)} pictures are missing or damaged in {kept.files.folder}; they are made again"
        )
        self._load(planned.chain)
        prompts = [self.prompts[number] for number in missing]
        numbers = iter(missing)
        for of_batch, noise in batches(self.model, prompts, replace(self.config.evaluate, images_per_prompt=1)):
            with self._finite(planned):
                images = generate(self.model, of_batch, noise)
            for pixels in to_pixels(images):
                save_picture(kept.files.picture(next(numbers)), pixels)

    @property
    def _images(self) -> int:
        """How many images an evaluation generates."""
        return len(self.prompts) * self.config.evaluate.images_per_prompt

    def _finite(self, planned: PlannedStage) -> AbstractContextManager[None]:
        return images_after(self._named(planned), self._cause(planned))

    def _cause(self, planned: PlannedStage) -> str:
        """Why images after a stage are not finite, and what to do."""
        return cause(trained=bool(planned.chain))

    def _named(self, planned: PlannedStage) -> str:
        return "no training" if planned is self.plan[0] else f"stage {planned.index} ({planned.stage.label})"

    @cached_property
    def _base_images(self) -> KeptImages:
        """The base model's evaluation images, read a batch at a time; made again when they are gone or damaged.

        They are checked as a whole once; each batch is again when it is read.
        """
        base = self.plan[0]
        kept = self.evaluation(base)
        with locked(self._folder(base.id), self.reporter.waiting):
            try:
                images = KeptImages(kept.files.images, self._images)
                images.check()
            except DamagedError as error:
                self.reporter.warn(f"{error} This is done now")
                self._evaluate(base, kept)
                images = KeptImages(kept.files.images, self._images)
        return images

    def _load(self, chain: Chain) -> None:
        """Make the model W + sum c_i A_i B_i."""
        if chain != self._loaded:
            self.group.load_chain(self._pairs(chain))
            self._loaded = chain

    def _pairs(self, chain: Chain) -> list[tuple[LoraPair, float]]:
        return [(load_pair(self._folder(key), self.model.device), c) for key, c in chain]

    def _read_row(self, planned: PlannedStage) -> Row:
        evaluation = self.evaluation(planned)
        numbers = evaluation.numbers()
        label = "base" if planned is self.plan[0] else planned.stage.label
        return Row(
            label=label,
            rewards=tuple(planned.stage.rewards),
            stage_id=planned.id,
            evaluation=self.store.relative(evaluation.files.folder),
            values={k: float("nan") if v is None else v for k, v in numbers["values"].items()},
            intervals={k: (v[0], v[1]) for k, v in numbers["intervals"].items()},
            train_seconds=stage_record.read(self._folder(planned.id))["seconds"] if planned.train else 0.0,
            evaluate_seconds=numbers["seconds"],
        )


def _forget(pixels: Tensor) -> None:
    """For images that no metric will compare others with."""
