"""Reads the run that another one continues: its stages are kept, and checked for what is missing or has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rilbench.contracts import settings
from rilbench.contracts.errors import ConfigError, DamagedError, RilbenchError, reason
from rilbench.contracts.strategy import Stage
from rilbench.engine.config import RunConfig
from rilbench.engine.continued import find
from rilbench.engine.copies import copy_stage
from rilbench.engine.parts import Parts
from rilbench.engine.planned import Chain, Kept, PlannedStage
from rilbench.engine.saved import SavedRun, open_run
from rilbench.host.catalog import Catalog
from rilbench.model.files import why_no_pair
from rilbench.store import stage_record
from rilbench.store.checksums import damaged
from rilbench.store.layout import RunFiles, StageFiles, Store
from rilbench.store.locks import locked
from rilbench.training.config import TrainConfig


def read_kept(config: RunConfig, catalog: Catalog) -> Kept | None:
    """The stages of the run that a configuration continues; None if it continues none.

    Raises UsageError or ConfigError, naming the stage, for a run that cannot be continued.
    """
    if not config.after:
        return None
    place = find(config.after, Path(config.store))
    saved = open_run(str(place.folder), catalog)
    result = saved.up_to(place.stage)
    if not any(row.rewards for row in result.matrix.rows):
        raise ConfigError(f"after: {result.name} measures a model and trained nothing; start from it with model.path")
    stages: list[PlannedStage] = []
    for number in range(1, place.stage + 1):
        try:
            stages.append(_stage(saved, number, stages))
        except RilbenchError as error:
            where = f"after: stage {number} ({saved.rows[number].label}) of {result.name} cannot be continued"
            repeat = f" Its command: {result.command}" if result.command else ""
            raise type(error)(f"{where}: {error}{repeat}") from None
    model = next(stage.document["model"] for stage in stages if stage.document)
    return Kept(result=result, stages=tuple(stages), rewards=saved.sequence(place.stage), model=model)


def check_kept(parts: Parts, warn: Callable[[str], None]) -> None:
    """ConfigError if the base model or the first stage is not that of the run that is continued; warns of other
    versions of plugins."""
    if (kept := parts.kept) is None:
        return
    if parts.config.first_stage not in (1, kept.stages[0].index):
        raise ConfigError(f"first_stage: the stages are numbered on from those of {kept.result.name}; leave it out")
    now = parts.base_document["model"]
    names = [key for key in {**kept.model, **now} if kept.model.get(key) != now.get(key)]
    if names:
        found = ", ".join(f"model.{key} ({_shown(kept.model.get(key))}, now {_shown(now.get(key))})" for key in names)
        raise ConfigError(
            f"after: {kept.result.name} was trained on another base model: {found}. Give that model and its settings, "
            f"which are in {kept.folder / RunFiles.SETTINGS}"
        )
    if parts.base_document["version"] != next(s.document["version"] for s in kept.stages if s.document):
        raise ConfigError(f"after: {kept.result.name} was trained by a rilbench with other numbers; repeat its command")
    for text in dict.fromkeys(_changes(parts, kept)):
        warn(text)


def bring(kept: Kept, store: Store, base: str, evaluations: Sequence[str], waiting: Callable[[Path], None]) -> None:
    """Copy the kept stages of another store: pairs, records and the evaluations of these identities.

    They are copied because pairs are small, and because a store has to contain all stages of its runs: the other one
    may be removed, or be on another disk.
    """
    if kept.store.folder.resolve() == store.folder.resolve():
        return
    for key in (base, *(stage.id for stage in kept.stages)):
        source, target = kept.store.stage(key), store.stage(key)
        if not source.folder.is_dir():
            continue
        with locked(target.folder, waiting):
            copy_stage(source, target, *evaluations)


def _stage(saved: SavedRun, number: int, before: Sequence[PlannedStage]) -> PlannedStage:
    """A stage as planned then, from its record; a merge has none."""
    row, chain = saved.rows[number], saved.chain(number)
    for key, _ in chain:
        if why := why_no_pair(saved.stage_folder(key)):
            raise DamagedError(why)
    if row.rewards:
        return _trained(saved.document(number), row.stage_id, chain, saved.stage_folder(row.stage_id))
    own = chain == ((row.stage_id, 1.0),)
    index = max((stage.index for stage in before), default=0)
    stage = Stage(average="factors" if own else "changes")
    return PlannedStage(stage=stage, id=row.stage_id, document={}, below=(), chain=chain, index=index, kept=True)


def _trained(document: dict[str, Any], key: str, chain: Chain, folder: Path) -> PlannedStage:
    try:
        train = {field.name: document["train"].get(field.name) for field in fields(TrainConfig)}
        given = {name: value for name, value in train.items() if value is not None and name != "prompts"}
        weights = {r.get("expression") or r["name"]: float(r["weight"]) for r in document["rewards"]}
        by, initial = document["strategy"]["name"], document["initial"]
        return PlannedStage(
            stage=Stage(rewards=weights, start="continue" if initial else "previous", by=by),
            id=key,
            document=document,
            below=chain[:-1],
            chain=chain,
            by=by,
            initial=initial,
            index=int(document["index"]),
            kept=True,
            trained_with=settings.build(TrainConfig, given, "train"),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(StageFiles(folder).record, reason(error), stage_record.AGAIN) from None


def _changes(parts: Parts, kept: Kept) -> Iterator[str]:
    """What differs now from when a kept stage was trained."""
    for number, stage in enumerate(kept.stages, 1):
        where = f"stage {number} ({stage.stage.label}) of {kept.result.name} was trained"
        for reward in (part for item in stage.document.get("rewards", ()) for part in item.get("parts", (item,))):
            name, own = reward["name"], {k: v for k, v in reward.items() if k != "weight"}
            if differs := _differing(own, parts.get("reward", name).document):
                yield f"{where} on another {name}: {differs}; all stages are measured with the present one"
        known = stage.document.get("strategy", {})
        if known and known["name"] in parts.catalog.registered("strategy"):
            now = parts.get("strategy", known["name"]).document
            if differs := _differing(_code(known), _code(now)):
                yield f"{where} by another {known['name']}: {differs}"


def _code(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("settings", "files")}


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    return ", ".join(f"{key} {_shown(then.get(key))}, now {_shown(now.get(key))}" for key in keys)


def _shown(value: Any) -> str:
    return str(value)[:60]
