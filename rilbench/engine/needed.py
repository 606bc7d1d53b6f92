"""Which files a configuration needs, and for what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, is_reference
from rilbench.contracts.settings import flat
from rilbench.engine.config import as_mapping
from rilbench.engine.documents import paths_in
from rilbench.engine.parts import Parts
from rilbench.engine.plan import strategies_of
from rilbench.engine.planned import PlannedStage
from rilbench.files import pipelines as pipeline_files
from rilbench.files.hub import branch_file, is_hub_id
from rilbench.files.loras import loras_of, watched
from rilbench.files.model_path import check_local
from rilbench.files.published import is_present, missing, place_of
from rilbench.files.resources import resolve
from rilbench.files.states import states
from rilbench.model.config import ModelConfig
from rilbench.store.layout import RunFiles

SECTIONS = ("train.", "evaluate.", "recipes.")  # the engine's own settings


@dataclass(frozen=True)
class Need:
    """A file, and the parts of the configuration that need it."""

    file: NeededFile
    by: tuple[str, ...]


def needed(parts: Parts) -> list[Need]:
    """Every file outside installed packages, as far as known on this machine: the model's, the prompts and those of
    components. Each is listed once."""
    needs: dict[NeededFile, dict[str, None]] = {}
    for file, by in _found(parts):
        needs.setdefault(file, {})[by] = None
    return [Need(file, tuple(by)) for file, by in needs.items()]


def hub_model(model: ModelConfig) -> tuple[str, str] | None:
    """Repository and revision of a model on the Hub; None for a folder."""
    return (model.path, model.revision or "main") if is_hub_id(model.path) else None


def require(parts: Parts) -> None:
    """Raises ConfigError naming every missing file and the command that fetches or makes it."""
    model = parts.config.model
    check_local(model.path)
    if absent := [need.file for need in needed(parts) if not is_present(need.file)]:
        place = hub_model(model)
        unlisted = place and pipeline_files.index_of(*place) in absent
        note = f"model.path: there is no folder {model.path!r} here, so it is read as the id of a repository on the Hub"
        raise missing(absent, note if unlisted else "")
    for lora in loras_of(model.lora):
        lora.file  # noqa: B018 - checks it


def _found(parts: Parts) -> Iterator[tuple[NeededFile, str]]:
    if place := hub_model(parts.config.model):
        for file in pipeline_files.in_cache(*place):
            yield file, "model"
    for lora in loras_of(parts.config.model.lora):
        for file in lora.needed:
            yield file, "model.lora"
    for key, value in flat(as_mapping(parts.config)).items():
        if key.startswith(SECTIONS) and isinstance(value, str) and is_reference(value):
            yield NeededFile.parse(value), key
    for part in parts.used([parts.config.strategy]):
        for file in part.files:
            yield file, f"{part.plugin.kind} {part.plugin.name}"


def inputs(parts: Parts, plan: Sequence[PlannedStage]) -> dict[str, str]:
    """The states of all files that a plan depends on, including the places of missing ones."""
    config = parts.config
    trains = [planned.train for planned in plan if planned.train]
    validated = {train.validate_prompts for train in trains if train.validate_every}
    prompts = sorted({train.prompts for train in trains} | validated)
    named = [config.model.path, config.evaluate.prompts, *prompts]
    for part in parts.used(strategies_of(config, plan)):
        named += paths_in(part.settings)
    files = [need.file for need in needed(parts)]
    branches = [branch_file(repo, revision) for file in files if file.hub for repo, _, revision in [file.hub]]
    loras = [path for text in config.model.lora for path in watched(text)]
    continued = [RunFiles(parts.kept.folder).result] if parts.kept else []
    return states(dict.fromkeys([*map(_located, named), *loras, *map(place_of, files), *branches, *continued]))


def _located(text: str) -> Path:
    """The path that a setting names; for an id on the Hub, the file with its commit."""
    if is_hub_id(text):
        repo, _, revision = text.partition("@")
        return branch_file(repo, revision or "main")
    try:
        return Path(resolve(text)).absolute()
    except ConfigError:  # a package that is not installed: its place is not known
        return Path(text)
