"""Which files a configuration needs, and for what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rilbench.contracts.files import NeededFile, is_reference
from rilbench.contracts.settings import flat
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig, as_mapping
from rilbench.files import pipelines as pipeline_files
from rilbench.files.hub import is_hub_id
from rilbench.files.model_path import as_hub_id, check_local
from rilbench.files.published import is_present, missing
from rilbench.model.config import ModelConfig

SECTIONS = ("train.", "evaluate.", "recipes.")  # the engine's own settings


@dataclass(frozen=True)
class Need:
    """A file, and the parts of the configuration that need it."""

    file: NeededFile
    by: tuple[str, ...]


def needed(config: RunConfig, components: Components) -> list[Need]:
    """Every file that is not in an installed package, as far as this machine knows them: the model's, the prompts,
    those of the components. Each once."""
    found = [*_model(config.model), *_settings(config), *_components(config, components)]
    needs: dict[NeededFile, Need] = {}
    for file, by in found:
        before = needs.get(file, Need(file, ()))
        needs[file] = replace(before, by=tuple(dict.fromkeys((*before.by, by))))
    return list(needs.values())


def hub_model(model: ModelConfig) -> tuple[str, str] | None:
    """Repository and revision of a model on the Hub; None for a folder."""
    return (model.path, model.revision or "main") if is_hub_id(model.path) else None


def require(config: RunConfig, components: Components) -> None:
    """ConfigError that names every needed file that is not there and how to get it."""
    check_local(config.model.path)
    absent = [need.file for need in needed(config, components) if not is_present(need.file)]
    if not absent:
        return
    place = hub_model(config.model)
    if place and pipeline_files.index_of(*place) in absent:
        raise missing(absent, as_hub_id(config.model.path))
    raise missing(absent)


def _model(model: ModelConfig) -> list[tuple[NeededFile, str]]:
    place = hub_model(model)
    return [(file, "model") for file in pipeline_files.in_cache(*place)] if place else []


def _settings(config: RunConfig) -> Iterable[tuple[NeededFile, str]]:
    for key, value in flat(as_mapping(config)).items():
        if key.startswith(SECTIONS) and isinstance(value, str) and is_reference(value):
            yield NeededFile.parse(value), key


def _components(config: RunConfig, components: Components) -> Iterable[tuple[NeededFile, str]]:
    names = [("strategy", config.strategy)]
    names += [(components.metric_kind(name), name) for name in components.metric_names()]
    for kind, name in dict.fromkeys(names):
        for file in components.files(kind, name):
            yield file, f"{kind} {name}"
