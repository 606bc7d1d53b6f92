"""Evaluates a model or LoRAs from elsewhere and stores them like a run: same prompts, noise and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import ResultMatrix, RunResult
from rilbench.contracts.strategy import Stage
from rilbench.engine import identity, secret_settings, unused_settings
from rilbench.engine.config import RunConfig
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import Chain, PlannedStage
from rilbench.engine.progress import Reporter
from rilbench.engine.run import begun, checked
from rilbench.engine.run_folder import RunFolder
from rilbench.engine.session import Session
from rilbench.evaluation.evaluate import LOADED, Origin
from rilbench.files.loras import Lora, loras_of
from rilbench.host.catalog import Catalog
from rilbench.model.config import ModelConfig


class ForeignModel(LoadedModel):
    """A model whose only stage adds LoRAs from elsewhere."""

    bare: ModelConfig
    whole: ModelConfig  # with them

    def origin(self, planned: PlannedStage) -> Origin:
        if planned.chain:
            named = " and ".join(self.whole.lora[len(self.bare.lora) :])
            return Origin("adding the LoRA", f"{named} causes this; lower the scale, PLACE@SCALE")
        return LOADED

    def load(self, chain: Chain) -> None:
        wanted = self.whole if chain else self.bare
        if wanted != self.config.model:
            self.__dict__.pop("model", None)  # it is loaded again
            self.config = replace(self.config, model=wanted)


def evaluate(
    config: RunConfig,
    added: Sequence[str] = (),
    *,
    catalog: Catalog,
    reporter: Reporter,
    command: str = "",
    given: Mapping[str, Any] | None = None,
) -> tuple[Path, RunResult]:
    """Evaluate the model of a configuration, and the same with LoRAs added, if given as `PLACE` or `PLACE@SCALE`;
    results in the store are reused.

    The rewards are columns, and the order under which comparisons list the result. Nothing counts as trained, so the
    table shows every metric's forgetting relative to the bare model. given: nested values of `key=value` settings,
    which must have an effect.
    """
    if config.evaluate.train_prompts:
        raise ConfigError(
            "evaluate.train_prompts: the training prompts of a model from elsewhere are not known; measure a file of "
            "them with evaluate.prompts"
        )
    config = identity.pinned(config)
    catalog.check(reporter.warn, config.requires)
    loras, whole = loras_of(added, "--lora"), replace(config.model, lora=(*config.model.lora, *added))
    checked(replace(config, model=whole), catalog)
    components = checked(config, catalog)
    parts = components.parts
    unused_settings.require_none(unused_settings.find(given or {}, parts, ()))
    config = replace(config, strategy="lora" if loras else "model", tracking=False)
    plan = _plan(config, loras)
    result = begun(config, parts, plan, command=command, plugins=parts.versions())
    columns = tuple(replace(info, target_of=()) for info in result.matrix.metrics)
    folder = RunFolder.at(Path(config.store) / result.name, reporter.warn)
    loaded = ForeignModel(config, components, plan, reporter)
    loaded.bare, loaded.whole = config.model, whole
    session = Session(loaded, earlier=folder.finished)
    with components.discreet():
        rows = [session.row(planned) for planned in plan]
    if loras:
        rows[1] = replace(rows[1], label=config.label or "+".join(lora.name for lora in loras))
    folder.open(secret_settings.public(config, catalog), components.device, session.evaluations())
    result = replace(result, matrix=ResultMatrix(tuple(rows), columns))
    return folder.path, folder.finish(result, loaded.captions)


def _plan(config: RunConfig, loras: Sequence[Lora]) -> list[PlannedStage]:
    base = identity.base_document(config)
    plan = [PlannedStage(stage=Stage(), id=identity.digest(base), document=base, below=(), chain=())]
    if loras:
        one, several = {"lora": loras[0].digests, "scale": loras[0].scale}, {"lora": [each.document for each in loras]}
        document = base | (one if len(loras) == 1 else several)
        key = identity.digest(document)
        plan.append(PlannedStage(stage=Stage(), id=key, document=document, below=(), chain=((key, 1.0),)))
    return plan
