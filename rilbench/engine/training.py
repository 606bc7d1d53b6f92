"""A stage's training: its pair and its record, made if the store does not have them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from rilbench.contracts.errors import DamagedError
from rilbench.contracts.expression import names_in
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.result import RunResult
from rilbench.engine.live import RunEvents, StageEvents
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.engine.stopping import Stopping
from rilbench.files.prompts import read_prompts
from rilbench.model.files import has_config, has_pair, load_pair, save_config, save_pair, why_no_pair
from rilbench.store import stage_record
from rilbench.store.files import unwritable
from rilbench.store.layout import StageFiles
from rilbench.store.tensors import load_tensors, save_tensors
from rilbench.training.choice import Best
from rilbench.training.config import TrainConfig
from rilbench.training.stage import OnUpdate, StageTraining
from rilbench.training.step import WeightedReward

SHOWN = ("reward", "loss")  # of what an update logs
LESS = "lower train.micro_batch (same gradient) or set model.gradient_checkpointing=true"


class Training:
    """Trains planned stages. earlier: the finished result of the same run, if there is one."""

    def __init__(self, loaded: LoadedModel, earlier: RunResult | None, live: RunEvents) -> None:
        self.live = live
        self.loaded, self.adapter, self.warn = loaded, loaded.config.adapter, loaded.reporter.warn
        self.seconds = {row.stage_id: row.train_seconds for row in earlier.matrix.rows} if earlier else {}

    def whole(self, planned: PlannedStage) -> bool:
        """Whether the store has all files of a trained stage."""
        files = self.loaded.files(planned)
        if _has_pair(planned) and (why_no_pair(files.folder) or not has_config(files.folder)):
            return False
        return planned.train is None or not (stage_record.damage(files.folder) or files.checkpoint.exists())

    def complete(self, planned: PlannedStage) -> None:
        """Make the pair of a stage and the record of its training if they are missing or damaged."""
        files = self.loaded.files(planned)
        if planned.kept:
            self._require(planned, files)
        if planned.kept or not _has_pair(planned):
            return
        if files.weights.is_dir():
            raise unwritable(files.weights, IsADirectoryError())
        if has_pair(files.folder) and (why := why_no_pair(files.folder)):
            self.warn(f"{why} This is done now")
            files.weights.unlink()
        with Stopping() as stopping:
            self._make(planned, stopping)
        save_config(files.folder, self.adapter)
        files.checkpoint.unlink(missing_ok=True)
        if planned.train is not None and (why := stage_record.damage(files.folder)):
            self.warn(f"{why} This is done now; the training curves are lost")
            seconds = self.seconds.get(planned.id, 0.0)
            self._record(planned, seconds=seconds, log=[], carry=files.carry.exists())

    def _make(self, planned: PlannedStage, stopping: Stopping) -> None:
        """Make the pair of a stage if the store has none."""
        files = self.loaded.files(planned)
        if not has_pair(files.folder):
            with self.loaded.enough_memory(f"in {self.loaded.origin(planned).after}", LESS):
                train = planned.train
                pair = self._averaged(planned) if train is None else self._train(planned, train, stopping)
                save_pair(files.folder, pair, self.adapter, self.loaded.model.backbone.prefix)

    def _require(self, planned: PlannedStage, files: StageFiles) -> None:
        """DamagedError if a kept stage is not complete: only its own run can train it."""
        own = planned.training is not None
        why = (why_no_pair(files.folder) or stage_record.damage(files.folder)) if own else ""
        if why:
            kept = self.loaded.components.parts.kept
            raise DamagedError(f"{why} It is a stage of {kept.result.name if kept else 'another run'}")

    def _averaged(self, planned: PlannedStage) -> LoraPair:
        return LoraPair.averaged(self.loaded.pairs(planned.below))

    def _train(self, planned: PlannedStage, train: TrainConfig, stopping: Stopping) -> LoraPair:
        """Train the pair of a stage; write its record and the tensors that its strategy passes on."""
        loaded, files = self.loaded, self.loaded.files(planned)
        loaded.load(planned.below)
        trained = [each.id for each in loaded.plan if each.training]
        doing = f"stage {trained.index(planned.id) + 1} of {len(trained)}: {planned.stage.label}"
        with loaded.reporter.work(doing, "update", planned.id) as advance:
            events = self.live.stage(planned, train)

            def on_update(update: int, total: int, values: Mapping[str, float]) -> None:
                advance(update, total, ", ".join(f"{key} {values[key]:.4g}" for key in SHOWN if key in values))
                events.update(update, values)

            training = replace(self._prepared(planned, train, on_update), between=stopping.between)
            if train.validate_every:
                training.validate = self._validation(planned, train, events)
            start = time.perf_counter()
            pair = training.run()
        seconds = time.perf_counter() - start
        left = training.carry_left()
        self._record(planned, seconds=seconds, log=training.log, carry=bool(left))
        if left:
            save_tensors(files.carry, left)
        return pair

    def _prepared(self, planned: PlannedStage, train: TrainConfig, on_update: OnUpdate) -> StageTraining:
        loaded = self.loaded
        before = loaded.store.stage(planned.initial or (planned.below[-1][0] if planned.below else ""))
        return replace(
            stage_training(loaded, planned, train),
            warn=self.warn,
            say=loaded.reporter.say,
            initial=load_pair(before.folder, loaded.model.device) if planned.initial else None,
            carry=self._carry(before, planned),
            on_update=on_update,
            best=self._best(train),
        )

    def _best(self, train: TrainConfig) -> Best | None:
        if not train.keep_best:
            return None
        (info,) = (info for info in self.loaded.components.parts.metric_infos() if info.name == train.keep_best)
        return Best(train.keep_best, info.higher_is_better)

    def _validation(
        self, planned: PlannedStage, train: TrainConfig, events: StageEvents
    ) -> Callable[[int], dict[str, float]]:
        from rilbench.engine.validation import Validation  # most runs have none

        validation = Validation(self.loaded, planned, train)

        def validate(update: int) -> dict[str, float]:
            values, pictures = validation.after(update)
            events.validated(update, values, pictures)
            return values

        return validate

    def _carry(self, before: StageFiles, after: PlannedStage) -> dict[str, Tensor] | None:
        """The tensors that the strategy passed on at the end of a stage; DamagedError if they are missing.

        The base and averaged factors have no record: no strategy trained them. Those of another strategy, which trained
        a kept stage, mean nothing to this one.
        """
        trained = {
            self.loaded.files(each)
            for each in self.loaded.plan
            if each.train or (each.training and each.by == after.by)
        }
        if before not in trained or not stage_record.read(before.folder)["carry"]:
            return None
        return load_tensors(before.carry, f"Delete {before.folder} and repeat the run's command.")

    def _record(
        self, planned: PlannedStage, *, seconds: float, log: Sequence[Mapping[str, float]], carry: bool
    ) -> None:
        stage_record.write(
            self.loaded.files(planned).folder,
            label=planned.stage.label,
            document=planned.document,
            seconds=seconds,
            log=log,
            carry=carry,
        )


def stage_training(loaded: LoadedModel, planned: PlannedStage, train: TrainConfig) -> StageTraining:
    """A planned stage on the chain of pairs that is loaded, with a new pair and nothing handed on to it."""
    weights, adapter = planned.stage.rewards, loaded.config.adapter
    return StageTraining(
        model=loaded.model,
        group=loaded.group,
        strategy=loaded.components.strategy(planned.by),
        stage=planned.stage,
        index=planned.index,
        reward=WeightedReward({name: loaded.components.reward(name) for name in names_in(weights)}, weights),
        config=train,
        prompts=read_prompts(train.prompts),
        rank=adapter.rank,
        init=adapter.init,
        seed=loaded.config.seed,
        checkpoint=loaded.files(planned).checkpoint,
    )


def _has_pair(planned: PlannedStage) -> bool:
    """Whether a stage has a pair of its own."""
    return planned.train is not None or planned.stage.average == "factors"
