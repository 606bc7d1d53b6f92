"""One process's work on stages: the model in memory, the stages in the store, and nothing done twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rilbench import identity
from rilbench.components import Components
from rilbench.config import ModelConfig, RunConfig
from rilbench.errors import ConfigError, DivergedError, MemoryFullError, is_out_of_memory, reason
from rilbench.evaluation.evaluate import Evaluation, evaluate
from rilbench.evaluation.images import written
from rilbench.model.adapters import AdapterGroup, LoraPair
from rilbench.model.files import has_pair, load_pair, save_pair
from rilbench.model.reading import remarks
from rilbench.model.text_to_image import TextToImage
from rilbench.plan import Chain, PlannedStage
from rilbench.progress import Reporter
from rilbench.prompts import evaluation_prompts, read_prompts
from rilbench.report.grid import save_picture
from rilbench.result import Row
from rilbench.store import read_json, write_json
from rilbench.tensors import load_tensors, save_tensors
from rilbench.training import fit
from rilbench.training.memory import Memory, count, under
from rilbench.training.room import check_weights
from rilbench.training.step import WeightedReward
from rilbench.training.trainer import StageTraining

TRAINING = "lower train.micro_batch (the gradient stays) or set model.gradient_checkpointing=true"
EVALUATION = "lower evaluate.batch_size or set model.vae_slicing=true"
IMAGES = "images.safetensors"  # of the base model, in the folder of its evaluation
LEGACY = "legacy.safetensors"  # what a strategy leaves in a stage's folder for the next one


class Session:
    """Trains and evaluates planned stages; the model is loaded when the first one is not in the store."""

    def __init__(self, config: RunConfig, components: Components, plan: list[PlannedStage], reporter: Reporter) -> None:
        self.config, self.components, self.plan, self.reporter = config, components, plan, reporter
        self.stages = Path(config.store) / "stages"
        self.prompts = evaluation_prompts(config.evaluate.prompts)
        self._loaded: Chain | None = None

    @cached_property
    def model(self) -> TextToImage:
        self.reporter.say("loading the model")
        if self.config.check_memory:
            check_weights(self.config.model, self.components.device)
        with self.enough_memory("loading the model", fit.elsewhere(self.config.model)):
            model = TextToImage.load(self.config.model)
        self._tell_prompts(model)
        return model

    def _tell_prompts(self, model: TextToImage) -> None:
        """Warn of prompts that the model does not read as they are in their files."""
        files = {planned.train.prompts: "train.prompts" for planned in self.plan if planned.train}
        for path, setting in (*files.items(), (self.config.evaluate.prompts, "evaluate.prompts")):
            prompts = read_prompts(path)
            for text in remarks(model.readings(prompts), prompts, f"{setting} ({path})"):
                self.reporter.warn(text)

    @property
    def prefix(self) -> str:
        """What the pipeline calls its denoiser."""
        return self.model.backbone.prefix

    @cached_property
    def group(self) -> AdapterGroup:
        return AdapterGroup(self.model.network, targets=self.config.adapter.targets)

    def check_memory(self) -> None:
        """ConfigError when what is not trained yet would not fit; nothing is loaded when everything is."""
        wanted = [p for p in self.plan if p.train is not None and not has_pair(self.stages / p.id)]
        if not wanted or not self.config.check_memory:
            return
        memory = self.count_memory(wanted)
        fit.check(self.config, self.work(wanted), memory, self.model.device, partial(self.count_memory, wanted))

    def count_memory(self, stages: Sequence[PlannedStage], config: ModelConfig | None = None) -> Memory:
        """What one image needs in any of the stages, or would need under other settings of the model.

        All that stays loaded is made here, metrics too, so that the bytes free afterwards are free for the work.
        """
        with self.enough_memory("loading rewards and metrics", fit.elsewhere(self.config.model)):
            rewards = {name: self.components.reward(name) for planned in stages for name in planned.stage.rewards}
            metrics = [self.components.metric(name) for name in self.components.columns()]
        trains = [planned.train for planned in stages if planned.train]
        prompt = read_prompts(trains[0].prompts)[0] if trains else ""
        last_steps = max((train.last_steps for train in trains), default=1)
        self._loaded = None
        with self.enough_memory("trying one image", fit.hopeless(self.config.model)):
            model = under(self.model, config) if config else self.model
            return count(model, self.group, rewards, metrics, prompt=prompt, last_steps=last_steps)

    def work(self, stages: Sequence[PlannedStage]) -> fit.Work:
        """What takes memory in training stages and measuring: images at a time with rewards, prompts."""
        trains = [(planned.train, tuple(planned.stage.rewards)) for planned in stages if planned.train]
        steps = [(train.micro_batch or train.batch_size, rewards) for train, rewards in trains]
        prompts = {*self.prompts, *(prompt for train, _ in trains for prompt in read_prompts(train.prompts))}
        return fit.Work(steps, len(prompts), self._images)

    def row(self, planned: PlannedStage) -> Row:
        """The row of a stage: from the store, or trained and measured now."""
        folder = self.stages / planned.id
        folder.mkdir(parents=True, exist_ok=True)
        with self._locked(folder):
            if planned.train is not None and not has_pair(folder):
                with self.enough_memory(f"in {self._named(planned)}", TRAINING):
                    self._train(planned, folder)
            if planned.stage.average == "factors" and not has_pair(folder):
                save_pair(folder, LoraPair.averaged(self._pairs(planned.below)), self.config.adapter, self.prefix)
            measured = self.evaluation_folder(planned)
            if not (measured / "metrics.json").exists():
                with self.enough_memory(f"measuring after {self._named(planned)}", EVALUATION):
                    self._evaluate(planned, measured)
        return self._read_row(planned, measured)

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

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """One process at a time works on a stage; the next finds it done."""
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.reporter.waiting(folder)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def evaluation_folder(self, planned: PlannedStage) -> Path:
        """Where a stage's evaluation lies; its name is the hash of what is measured and on what."""
        return self.stages / planned.id / "evaluations" / identity.digest(self.components.evaluation_document())

    def _train(self, planned: PlannedStage, folder: Path) -> None:
        assert planned.train is not None
        self._load(planned.below)
        rewards = {name: self.components.reward(name) for name in planned.stage.rewards}
        before = self.stages / (planned.initial or (planned.below[-1][0] if planned.below else ""))
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
                checkpoint=folder / "checkpoint.pt",
                initial=load_pair(before, self.model.device) if planned.initial else None,
                legacy=load_tensors(before / LEGACY) if (before / LEGACY).exists() else None,
                on_update=on_update,
            )
            start = time.perf_counter()
            pair = training.run()
        seconds = time.perf_counter() - start
        self._loaded = None
        write_json(
            folder / "stage.json",
            {"label": planned.stage.label, "seconds": seconds, "document": planned.document, "log": training.log},
        )
        if legacy := training.legacy_left():
            save_tensors(folder / LEGACY, legacy)
        save_pair(folder, pair, self.config.adapter, self.prefix)
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    def _evaluate(self, planned: PlannedStage, folder: Path) -> None:
        self._load(planned.chain)
        metrics = {name: self.components.metric(name) for name in self.components.columns()}
        compared = any(metric.needs_base for metric in metrics.values())
        is_base = planned is self.plan[0]
        base = self._base_images() if compared and not is_base else None
        kept = written(folder / IMAGES, self._images) if compared and is_base else nullcontext(_forget)
        start = time.perf_counter()
        label = planned.stage.label if planned.stage.rewards else "model"
        with self.reporter.evaluation(label, f"{planned.id}/{folder.name}") as on_batch, kept as keep:
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
            except DivergedError as error:
                raise DivergedError(f"{error}, measured after {self._named(planned)}") from None
        self._write(result, folder, seconds=time.perf_counter() - start)

    @property
    def _images(self) -> int:
        """How many images an evaluation generates."""
        return len(self.prompts) * self.config.evaluate.images_per_prompt

    def _named(self, planned: PlannedStage) -> str:
        return "no training" if planned is self.plan[0] else f"stage {planned.index} ({planned.stage.label})"

    def _base_images(self) -> Any:
        """The base model's evaluation images, read a batch at a time."""
        file = self.evaluation_folder(self.plan[0]) / IMAGES
        try:
            return safe_open(file, framework="pt").get_slice("images")  # type: ignore[no-untyped-call]
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"cannot read {file}: {error}. Delete its folder to have it made again.") from None

    def _load(self, chain: Chain) -> None:
        """Make the model W + sum c_i A_i B_i."""
        if chain != self._loaded:
            self.group.load_chain(self._pairs(chain))
            self._loaded = chain

    def _pairs(self, chain: Chain) -> list[tuple[LoraPair, float]]:
        return [(load_pair(self.stages / key, self.model.device), c) for key, c in chain]

    def _write(self, result: Evaluation, folder: Path, *, seconds: float) -> None:
        for i, image in enumerate(result.samples):
            save_picture(folder / f"sample-{i}.png", image)
        save_tensors(folder / "scores.safetensors", result.scores)
        write_json(
            folder / "metrics.json",
            {
                "values": result.values,
                "intervals": result.intervals,
                "seconds": seconds,
                "images": self._images,
            },
        )

    def _read_row(self, planned: PlannedStage, measured: Path) -> Row:
        metrics: Mapping[str, Any] = read_json(measured / "metrics.json")
        trained = self.stages / planned.id / "stage.json"
        label = "base" if planned is self.plan[0] else planned.stage.label
        return Row(
            label=label,
            rewards=tuple(planned.stage.rewards),
            stage_id=planned.id,
            evaluation=str(measured.relative_to(self.config.store)),
            values={k: float("nan") if v is None else v for k, v in metrics["values"].items()},
            intervals={k: (v[0], v[1]) for k, v in metrics["intervals"].items()},
            train_seconds=read_json(trained)["seconds"] if planned.train else 0.0,
            evaluate_seconds=metrics["seconds"],
        )


def _forget(pixels: Tensor) -> None:
    """For images that no metric will compare others with."""
