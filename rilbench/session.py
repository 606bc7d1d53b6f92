"""One process's work on stages: the model in memory, the stages in the store, and nothing done twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock
from PIL import Image
from torch import Tensor

from rilbench import identity
from rilbench.components import Components
from rilbench.config import RunConfig
from rilbench.evaluation.evaluate import Evaluation, evaluate
from rilbench.model.adapters import AdapterGroup
from rilbench.model.files import has_pair, load_pair, save_pair
from rilbench.model.text_to_image import TextToImage
from rilbench.plan import Chain, PlannedStage
from rilbench.progress import Reporter
from rilbench.prompts import read_prompts
from rilbench.result import Row
from rilbench.store import load_tensors, read_json, replacing, save_tensors, write_json
from rilbench.training.step import WeightedReward
from rilbench.training.trainer import StageTraining


class Session:
    """Trains and evaluates planned stages; the model is loaded when the first one is not in the store."""

    def __init__(self, config: RunConfig, components: Components, plan: list[PlannedStage], reporter: Reporter) -> None:
        self.config, self.components, self.plan, self.reporter = config, components, plan, reporter
        self.stages = Path(config.store) / "stages"
        self.prompts = read_prompts(config.evaluate.prompts)
        self._loaded: Chain | None = None

    @cached_property
    def model(self) -> TextToImage:
        self.reporter.say("loading the model")
        return TextToImage.load(self.config.model)

    @cached_property
    def group(self) -> AdapterGroup:
        return AdapterGroup(self.model.unet, targets=self.config.adapter.targets)

    def row(self, planned: PlannedStage) -> Row:
        """The row of a stage: from the store, or trained and measured now."""
        folder = self.stages / planned.id
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if planned.train is not None and not has_pair(folder):
                self._train(planned, folder)
            measured = self.evaluation_folder(planned)
            if not (measured / "metrics.json").exists():
                self._evaluate(planned, measured)
        return self._read_row(planned, measured)

    def evaluation_folder(self, planned: PlannedStage) -> Path:
        """Where a stage's evaluation lies; its name is the hash of what is measured and on what."""
        settings = asdict(self.config.evaluate)
        del settings["batch_size"], settings["metrics"]
        kinds = {name: self.components.metric_kind(name) for name in self.components.metric_names()}
        metrics = [self.components.describe(kind, name) for name, kind in sorted(kinds.items())]
        document = identity.with_contents({"evaluate": settings, "metrics": metrics})
        return self.stages / planned.id / "evaluations" / identity.digest(document)

    def _train(self, planned: PlannedStage, folder: Path) -> None:
        assert planned.train is not None
        self._load(planned.below)
        rewards = {name: self.components.reward(name) for name in planned.stage.rewards}
        with self.reporter.stage(planned.index, planned.stage.label) as on_update:
            training = StageTraining(
                model=self.model,
                group=self.group,
                strategy=self.components.strategy(planned.by),
                stage=planned.stage,
                index=planned.index,
                reward=WeightedReward(rewards, planned.stage.rewards),
                config=planned.train,
                prompts=read_prompts(planned.train.prompts),
                rank=self.config.adapter.rank,
                init=self.config.adapter.init,
                seed=self.config.seed,
                checkpoint=folder / "checkpoint.pt",
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
        save_pair(folder, pair, self.config.adapter)
        (folder / "checkpoint.pt").unlink(missing_ok=True)

    def _evaluate(self, planned: PlannedStage, folder: Path) -> None:
        self._load(planned.chain)
        metrics = {name: self.components.metric(name) for name in self.components.metric_names()}
        base = None
        if planned is not self.plan[0] and any(metric.needs_base for metric in metrics.values()):
            base = self._base_images()
        start = time.perf_counter()
        with self.reporter.evaluation(planned.stage.label if planned.stage.rewards else "model") as on_batch:
            result = evaluate(
                self.model, self.prompts, metrics, self.config.evaluate, base_images=base, on_batch=on_batch
            )
        self._write(result, folder, seconds=time.perf_counter() - start, keep_images=planned is self.plan[0])

    def _base_images(self) -> Tensor:
        """The base model's evaluation images; the base is always the first row, so they are there."""
        return load_tensors(self.evaluation_folder(self.plan[0]) / "images.safetensors")["images"]

    def _load(self, chain: Chain) -> None:
        """Make the model W + sum c_i A_i B_i."""
        if chain != self._loaded:
            pairs = [(load_pair(self.stages / key, self.model.device), c) for key, c in chain]
            self.group.load_chain(pairs)
            self._loaded = chain

    def _write(self, result: Evaluation, folder: Path, *, seconds: float, keep_images: bool) -> None:
        each = self.config.evaluate.images_per_prompt
        for i in range(min(self.config.evaluate.samples, len(self.prompts))):
            with replacing(folder / f"sample-{i}.png") as part:
                Image.fromarray(result.images[i * each].permute(1, 2, 0).numpy()).save(part, format="PNG")
        if keep_images:
            save_tensors(folder / "images.safetensors", {"images": result.images})
        save_tensors(folder / "scores.safetensors", result.scores)
        write_json(
            folder / "metrics.json",
            {"values": result.values, "intervals": result.intervals, "seconds": seconds},
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
