"""A run in the store: its stages, and the pairs that make the model after each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.result import ResultMatrix, Row, RunResult
from rilbench.contracts.untrusted import name
from rilbench.engine import identity
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig, load
from rilbench.engine.continued import STORE, run_folder
from rilbench.engine.parts import Parts
from rilbench.engine.plan import merged_chain, planned_stages
from rilbench.engine.planned import Chain
from rilbench.host.catalog import Catalog
from rilbench.store import stage_record
from rilbench.store.files import read_text
from rilbench.store.layout import RunFiles, StageFiles, Store
from rilbench.store.results import load_result, planned_chain

if TYPE_CHECKING:
    from rilbench.contracts.pair import LoraPair


@dataclass(frozen=True)
class SavedRun:
    """A run, finished or not: every stage that has a row can be used."""

    result: RunResult
    config: RunConfig
    catalog: Catalog

    @property
    def rows(self) -> Sequence[Row]:
        return self.result.matrix.rows

    @property
    def folder(self) -> Path:
        assert self.result.folder is not None
        return self.result.folder

    def stage_folder(self, stage_id: str) -> Path:
        """The folder of a stage in the store."""
        return Store(self.folder.parent).stage(stage_id).folder

    def stage(self, number: int | None) -> int:
        """A stage's number, checked; None means the last one. UsageError if there is no such stage."""
        last = len(self.rows) - 1
        if number is None:
            return last
        if not 0 <= number <= last:
            raise UsageError(f"stage {number}: {self.result.name} has the stages {self._listed()}")
        return number

    def up_to(self, stage: int) -> RunResult:
        """The result as it was after a stage."""
        matrix = self.result.matrix
        return replace(self.result, matrix=ResultMatrix(matrix.rows[: stage + 1], matrix.metrics))

    def avoiding(self, negative_prompt: str | None) -> SavedRun:
        """The run with another `model.negative_prompt`, which does not change its weights; None keeps its own."""
        if negative_prompt is None:
            return self
        model = replace(self.config.model, negative_prompt=negative_prompt)
        return replace(self, config=replace(self.config, model=model))

    def chain(self, stage: int) -> Chain:
        """The pairs, with coefficients, that make the model after a stage; none for the base model."""
        if stage == 0:
            return ()
        key = self.rows[stage].stage_id
        if document := self.document(stage):
            where = str(self.stage_folder(key))
            return (*((name(below, where), float(c)) for below, c in document["chain"]), (key, 1.0))
        if StageFiles(self.stage_folder(key)).weights.exists():  # averaged factors are one pair
            return ((key, 1.0),)
        return self._merged(stage)

    def pairs(self, stage: int, device: str = "cpu") -> list[tuple[LoraPair, float]]:
        """`chain` loaded."""
        from rilbench.model.files import load_pair

        return [(load_pair(self.stage_folder(key), device), c) for key, c in self.chain(stage)]

    def items(self, stage: int) -> list[str]:
        """What a stage was trained on: names of rewards and expressions; empty for the base model and merges."""
        return [item.get("expression") or item["name"] for item in self.document(stage).get("rewards", ())]

    def sequence(self, stage: int) -> tuple[str, ...]:
        """What the model after a stage was trained on, in order. An unfinished run names rewards that it has not
        trained yet."""
        if self.result.status == "finished" and stage == len(self.rows) - 1:
            return self.result.rewards
        return tuple(item for number in range(1, stage + 1) for item in self.items(number))

    @property
    def settings(self) -> RunConfig:
        """Its configuration for other stores, which lack the run that it continues: it names the whole sequence."""
        rewards = self.result.rewards if self.config.after else self.config.rewards
        return replace(self.config, store=STORE, after="", rewards=tuple(rewards))

    def targets(self, stage: int) -> tuple[str, ...]:
        """The layers that the stages up to one adapt, as `adapter.targets` names them: a run may continue another."""
        documents = [self.document(number) for number in range(1, stage + 1)]
        names = [target for document in documents for target in document.get("adapter", {}).get("targets", ())]
        return tuple(dict.fromkeys(names)) or self.config.adapter.targets

    def check_base(self) -> None:
        """ConfigError if the base model at `model.path` is not the one that the stages were trained and measured on."""
        documents = (self.document(stage) for stage in range(1, len(self.rows)))
        document = next(filter(None, documents), {})
        if not self._is_base(document):
            model = self.config.model
            loras = " and its LoRAs with model.lora=..." if model.lora or "lora" in document.get("model", {}) else ""
            named = " with ".join(map(repr, (model.path, *model.lora)))
            raise ConfigError(
                f"{named} is not the model this run was trained on; give that model with model.path=...{loras}"
            )

    def _is_base(self, document: Mapping[str, Any]) -> bool:
        """Whether the weights are those of a stage's document, or without one those the first row was measured with."""
        if document:
            weights, trained = identity.weights_document(self.config.model), document["model"]
            return {key: trained.get(key) for key in {*weights, "lora"}} == {"lora": None} | weights
        recorded, model = load(str(RunFiles(self.folder).settings)), self.config.model
        same = {key: getattr(model, key) for key in ("path", "revision", "lora")}
        measured = replace(recorded, model=replace(recorded.model, **same))
        return identity.digest(identity.base_document(measured)) == self.rows[0].stage_id

    def document(self, stage: int) -> dict[str, Any]:
        """What a stage was trained from; empty if it was not trained. DamagedError if its record is missing."""
        row = self.rows[stage]
        found: dict[str, Any] = stage_record.read(self.stage_folder(row.stage_id))["document"] if row.rewards else {}
        return found

    def _merged(self, stage: int) -> Chain:
        """The chain of a merge: the store has its identity only, with which the recorded one is compared, or else the
        one that is planned again."""
        chain = tuple(planned_chain(self.folder, stage) or self._planned_merge(stage))
        trained = next((d for i in range(1, len(self.rows)) if (d := self.document(i))), {})
        base = {key: trained.get(key) for key in ("version", "model")}
        if identity.digest(identity.merge_document(base, chain, "changes")) != self.rows[stage].stage_id:
            where = self.stage_folder(self.rows[stage].stage_id)
            raise ConfigError(
                f"stage {stage} cannot be rebuilt: {where} has no pair, and the strategy "
                f"{self.config.strategy!r} plans another merge than when the run was made"
            )
        return chain

    def _planned_merge(self, stage: int) -> Chain:
        planned = planned_stages(self.config, Components(Parts(self.config, self.catalog)))
        if stage > len(planned) or not planned[stage - 1].merge:
            return ()
        return merged_chain(planned[stage - 1].merge, [self.chain(i + 1) for i in range(stage - 1)])

    def _listed(self) -> str:
        return ", ".join(f"{i} ({row.label})" for i, row in enumerate(self.rows))


def open_run(name: str, catalog: Catalog, settings: Sequence[str] = ()) -> SavedRun:
    """The run in a folder, or of a name in the store `runs`, with `key=value` settings in place of its own.

    UsageError if there is no run, or none with a row yet.
    """
    folder = run_folder(name, Path(STORE))
    result = load_result(folder)
    if not result.matrix.rows:
        raise UsageError(f"{folder} has no finished stage yet; resume it with: {result.command}")
    settings_file = RunFiles(folder).settings
    read_text(settings_file, sealed=True)
    return SavedRun(result, load(str(settings_file), settings), catalog)
