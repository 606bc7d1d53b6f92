"""Evaluates a model or LoRA from elsewhere and stores it like a run: same prompts, noise and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from rilbench.files.hub import digest
from rilbench.host.catalog import Catalog
from rilbench_release.attach import Lora, attach


class ForeignModel(LoadedModel):
    """A model whose only stage is a LoRA from elsewhere."""

    lora: Lora | None = None

    def origin(self, planned: PlannedStage) -> Origin:
        if planned.chain and self.lora:
            cause = f"the LoRA {self.lora.path} causes this at scale {self.lora.scale:g}; lower it, PATH:SCALE"
            return Origin("adding the LoRA", cause)
        return LOADED

    def load(self, chain: Chain) -> None:
        if chain and self.lora:
            self.__dict__.pop(
                "model", None
            )  # a new one: the text encoder may have changed, so cached prompts are invalid
            attach(self.model.backbone.pipeline, self.lora)


def evaluate(
    config: RunConfig,
    lora: Lora | None,
    *,
    catalog: Catalog,
    reporter: Reporter,
    command: str = "",
    given: Mapping[str, Any] | None = None,
) -> tuple[Path, RunResult]:
    """Evaluate the model at `config.model.path`, and with the LoRA if given; results in the store are reused.

    The rewards are columns, and the order under which comparisons list the result. Nothing counts as trained, so the
    table shows every metric's forgetting relative to the bare model. given: nested values of `key=value` settings,
    which must have an effect.
    """
    config = identity.pinned(config)
    catalog.check(reporter.warn, config.requires)
    components = checked(config, catalog)
    parts = components.parts
    unused_settings.require_none(unused_settings.find(given or {}, parts, ()))
    config = replace(config, strategy="lora" if lora else "model", tracking=False)
    plan = _plan(config, lora)
    result = begun(config, parts, plan, command=command, plugins=parts.versions())
    columns = tuple(replace(info, target_of=()) for info in result.matrix.metrics)
    folder = RunFolder.at(Path(config.store) / result.name, reporter.warn)
    loaded = ForeignModel(config, components, plan, reporter)
    loaded.lora = lora
    session = Session(loaded, earlier=folder.finished)
    with components.discreet():
        rows = [session.row(planned) for planned in plan]
    if lora:
        rows[1] = replace(rows[1], label=config.label or lora.path.stem)
    folder.open(secret_settings.public(config, catalog), components.device, session.evaluations())
    result = replace(result, matrix=ResultMatrix(tuple(rows), columns))
    return folder.path, folder.finish(result, loaded.prompts[: config.evaluate.pictures])


def _plan(config: RunConfig, lora: Lora | None) -> list[PlannedStage]:
    base = identity.base_document(config)
    plan = [PlannedStage(stage=Stage(), id=identity.digest(base), document=base, below=(), chain=())]
    if lora:
        files = [lora.file, *([lora.config] if lora.config else [])]
        document = base | {"lora": [digest(file) for file in files], "scale": lora.scale}
        key = identity.digest(document)
        plan.append(PlannedStage(stage=Stage(), id=key, document=document, below=(), chain=((key, 1.0),)))
    return plan
