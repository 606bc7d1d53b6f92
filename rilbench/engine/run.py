"""A run, from configuration to result: plan, train, measure, report to the hooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import ResultMatrix, Row, RunResult
from rilbench.engine import identity, secret_settings
from rilbench.engine.after import bring, check_kept, read_kept
from rilbench.engine.budget import available
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig
from rilbench.engine.live import HookEvents
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.memo import Memo, Outcome
from rilbench.engine.needed import inputs, require
from rilbench.engine.parts import Parts
from rilbench.engine.plan import make_plan, strategies_of
from rilbench.engine.planned import PlannedStage
from rilbench.engine.progress import Reporter
from rilbench.engine.run_folder import RunFolder
from rilbench.engine.session import Session
from rilbench.files.prompts import evaluation_prompts, read_prompts
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller, Warn
from rilbench.model.files import has_pair
from rilbench.model.loading import pick_device

if TYPE_CHECKING:
    from rilbench.engine.training_prompts import TrainSession

LONGEST = 120  # characters of a run's name that are its rewards


def prepare(
    config: RunConfig, catalog: Catalog, warn: Warn, given: Mapping[str, Any] | None = None
) -> tuple[Components, list[PlannedStage]]:
    """Check everything that can be checked without loading weights, and plan; broken plugins are passed to `warn`.

    given: the nested values of `key=value` settings; ConfigError for one that has no effect.
    """
    catalog.check(warn, config.requires)
    components = checked(config, catalog)
    check_kept(components.parts, warn)
    plan = planned(config, components)
    if given:
        from rilbench.engine import unused_settings

        stages = [each.stage for each in plan if not each.kept]
        unused_settings.require_none(unused_settings.find(given, components.parts, stages))
    return components, plan


def checked(config: RunConfig, catalog: Catalog) -> Components:
    """The components of a configuration, after checking that all names, settings and files exist."""
    device, parts = pick_device(config.model.device), Parts(config, catalog, read_kept(config, catalog))
    parts.check()
    require(parts)
    evaluation_prompts(config.evaluate.prompts)
    return Components(parts, device)


def planned(config: RunConfig, components: Components) -> list[PlannedStage]:
    """The plan of a run. Its configuration may differ from that of the components in the order of rewards and in the
    seed."""
    plan = make_plan(config, components)
    for path in {stage.train.prompts for stage in plan if stage.train is not None}:
        read_prompts(path)
        if config.evaluate.train_prompts and path != config.train.prompts:
            raise ConfigError(
                f"evaluate.train_prompts: measures prompts of train.prompts, but a recipe trains on {path!r}; name one "
                "file for all stages, or leave it out"
            )
    for train in (stage.train for stage in plan if stage.train is not None and stage.train.validate_every):
        from rilbench.engine import validation

        validation.metrics(components.parts, train)
        evaluation_prompts(train.validate_prompts)
    return plan


def run(
    config: RunConfig,
    *,
    catalog: Catalog,
    reporter: Reporter,
    command: str = "",
    hooks: HookCaller | None = None,
    given: Mapping[str, Any] | None = None,
    memo: Memo | None = None,
) -> Outcome:
    """Do the work that is not in the store yet.

    A finished stage is never trained again, so the same call continues a stopped run and repeats a finished one
    at once. `hooks` are hook plugins shared by several runs; by default each run has its own.
    `given` are the nested values of `key=value` settings, which must have an effect. `memo` is the one with
    which a finished run was looked up.
    """
    memo = memo or Memo(config, catalog, given or {})
    config = identity.pinned(config)
    components, plan = prepare(config, catalog, reporter.warn, given)
    if hooks is None:
        hooks = HookCaller(catalog, reporter.warn, enabled=config.tracking, named=config.trackers)
    used = components.parts.versions(strategies_of(config, plan), list(hooks.plugins))
    result = begun(config, components.parts, plan, command=command, plugins=used)
    read = inputs(components.parts, plan)
    folder = RunFolder.at(Path(config.store) / result.name, reporter.warn)
    loaded = LoadedModel(config, components, plan, reporter)
    live = HookEvents(hooks, folder.path, loaded, result)
    session = Session(loaded, earlier=folder.finished, live=live)
    on_train = _on_training_prompts(loaded)
    if kept := components.parts.kept:
        evaluations = [each.evaluation for each in (session, on_train) if each]
        bring(kept, loaded.store, plan[0].id, evaluations, reporter.waiting)
    with components.discreet():
        _check_memory(loaded, map(Path, read))
    public = secret_settings.public(config, catalog)
    measured = [*session.evaluations(), *(on_train.evaluations() if on_train else ())]
    folder.open(public, components.device, measured, [each.chain for each in plan])
    hooks.call("run_started", folder=folder.path, result=result)
    rows: list[Row] = []
    try:
        for i, planned in enumerate(plan):
            with components.discreet():
                row = session.row(planned)
                rows.append(on_train.joined(row, planned) if on_train else row)
            live.result = result = replace(result, matrix=ResultMatrix(tuple(rows), result.matrix.metrics))
            folder.write(result)
            hooks.call("stage_finished", folder=folder.path, result=result, stage=i)
        result = folder.finish(result, loaded.captions)
    except BaseException as error:
        hooks.run_failed(folder=folder.path, result=folder.fail(result), error=error)
        raise
    hooks.call("run_finished", folder=folder.path, result=result)
    if not reporter.warned and public == config:  # secrets are in no digest
        memo.keep(folder.path, result, read)
    return Outcome(folder.path, result, hooks.lines("summary", folder=folder.path, result=result))


def _on_training_prompts(loaded: LoadedModel) -> TrainSession | None:
    if not loaded.config.evaluate.train_prompts:
        return None
    from rilbench.engine.training_prompts import TrainSession, TrainSet

    return TrainSession(TrainSet(loaded))


def _check_memory(loaded: LoadedModel, files: Iterable[Path]) -> None:
    """ConfigError for a run that does not fit. Nothing is loaded if every stage is trained or the run is small."""
    config, device = loaded.config, loaded.components.device
    stages = [planned for planned in loaded.plan if planned.train and not has_pair(loaded.files(planned).folder)]
    trains = [planned.train for planned in stages if planned.train]
    images = max(((train.micro_batch or train.batch_size) * train.last_steps for train in trains), default=0)
    images += min(config.evaluate.batch_size, loaded.most_images)
    if stages and config.check_memory and not available.is_small(config.model, files, images, device):
        from rilbench.engine.budget.check import check_memory

        check_memory(loaded, stages)


def run_name(config: RunConfig, parts: Parts, plan: list[PlannedStage]) -> str:
    """Label, rewards and seed, which people read, and a hash of the plan and the evaluation, which makes it unique."""
    document = [[planned.id for planned in plan], parts.evaluation_document]
    document += [parts.train_document] if config.evaluate.train_prompts else []
    label, rewards = label_of(config, parts), "-".join(map(_plain, sequence(config, parts)))
    if len(rewards) > LONGEST:  # of a long sequence; file systems take 255 characters
        rewards = f"{rewards[:LONGEST]}-{identity.digest(rewards)[:8]}"
    return f"{label}-{rewards}-seed{config.seed}-{identity.digest(document)[:8]}"


def _plain(item: str) -> str:
    """An expression as part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", item).strip("_")


def label_of(config: RunConfig, parts: Parts) -> str:
    """The name of a run's method in tables."""
    return config.label or (parts.kept.label(config.strategy) if parts.kept else config.strategy)


def sequence(config: RunConfig, parts: Parts) -> tuple[str, ...]:
    """The rewards of all stages in training order. A study's configurations differ in it from that of the parts."""
    return (*(parts.kept.rewards if parts.kept else ()), *config.rewards)


def begun(
    config: RunConfig, parts: Parts, plan: list[PlannedStage], *, command: str, plugins: dict[str, str]
) -> RunResult:
    """The result of a run before its first row. plugins: the versions of what it uses."""
    by = {f"strategy/{planned.by}" for planned in plan if planned.kept}
    earlier = {key: v for key, v in parts.kept.result.plugins.items() if key in by} if parts.kept else {}
    return RunResult(
        name=run_name(config, parts, plan),
        strategy=config.strategy,
        label=label_of(config, parts),
        rewards=sequence(config, parts),
        seed=config.seed,
        matrix=ResultMatrix((), parts.metric_infos()),
        command=command,
        plugins=earlier | plugins,
    )
