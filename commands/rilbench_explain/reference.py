"""All settings: those of a run, of a study file, and of every installed component."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from rilbench.contracts.errors import ConfigError, PluginError
from rilbench.contracts.settings import Declared, declared, default_of, types_of
from rilbench.contracts.values import choices
from rilbench.engine.config import STUDY, RunConfig
from rilbench.engine.layers import COMPONENTS
from rilbench.host.catalog import Catalog
from rilbench.host.plugin import Plugin, Status
from rilbench_study.definition import StudyConfig


@dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """One setting: `key` is dotted, `default` a Python value, or MISSING if the setting is required."""

    key: str
    kind: Any
    default: Any
    declared: Declared

    @property
    def type(self) -> str:
        """The type in words."""
        return type_name(self.kind)

    @property
    def allowed(self) -> str:
        """The choices or the range in words."""
        known = choices(self.kind)
        return f"one of {', '.join(map(str, known))}" if known else self.declared.allowed


BASE = SettingInfo(
    key="base",
    kind=str | None,
    default=None,
    declared=Declared(meaning="in a file: the configuration (name or path) that the file is based on"),
)


@dataclass(frozen=True)
class Section:
    """A group of settings; `about` names their owner."""

    name: str
    about: str
    settings: tuple[SettingInfo, ...]


def setting_infos(cls: type, prefix: str = "") -> Iterator[SettingInfo]:
    """Every setting of a dataclass, nested sections included, in the order of declaration."""
    for field in dataclasses.fields(cls):
        key, kind = f"{prefix}{field.name}", types_of(cls)[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from setting_infos(kind, f"{key}.")
        else:
            yield SettingInfo(key=key, kind=kind, default=default_of(field), declared=declared(field))


def type_name(kind: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join("null" if part is NoneType else type_name(part) for part in inner)
    if origin in (list, tuple, Sequence):
        return f"list of {type_name(inner[0])}s"
    names: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}
    named = "mapping" if origin in (dict, Mapping) else "text" if origin is Literal else names.get(kind)
    return named or str(getattr(kind, "__name__", kind))


def of_runs() -> list[Section]:
    """The engine's settings, without importing a component."""
    top = [one for one in setting_infos(RunConfig) if "." not in one.key]
    nested: dict[str, Any] = {n: kind for n, kind in types_of(RunConfig).items() if dataclasses.is_dataclass(kind)}
    return [
        Section("run", "At the top of a configuration.", (BASE, *top)),
        *(_section(name, cls.__doc__, cls) for name, cls in nested.items()),
        _section(STUDY, "The section `study:` of a study file.", StudyConfig),
    ]


def of_component(plugin: Plugin) -> Section:
    """The settings of a component, which is imported; raises PluginError if that fails."""
    name = f"{COMPONENTS[plugin.kind]}.{plugin.name}"
    return _section(name, f"Of the {plugin.kind} `{plugin.name}`.", plugin.load().Settings)


def _section(name: str, about: str, cls: type) -> Section:
    return Section(name, about, tuple(setting_infos(cls, f"{name}.")))


def sections(catalog: Catalog, warn: Callable[[str], None]) -> Iterator[Section]:
    """All settings; `warn` receives components that cannot be imported."""
    yield from of_runs()
    for plugin in catalog.plugins:
        if plugin.kind in COMPONENTS and plugin.status != Status.OFF:
            try:
                yield of_component(plugin)
            except PluginError as error:
                warn(str(error))


def find(key: str, catalog: Catalog, warn: Callable[[str], None]) -> list[Section]:
    """The setting of a key, or the settings below it; raises ConfigError with the nearest key if there is none.

    Components are imported only for keys of their sections.
    """
    every = list(sections(catalog, warn)) if key.split(".")[0] in COMPONENTS.values() else of_runs()
    if found := list(_under(key, every)):
        return found
    known = [name for section in every for name in (section.name, *(one.key for one in section.settings))]
    close = [name for name in known if name.endswith(f".{key}")] or difflib.get_close_matches(key, known, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"unknown setting {key!r}.{hint} `rilbench settings` lists all settings.")


def _under(key: str, among: Sequence[Section]) -> Iterator[Section]:
    for section in among:
        below = section.name == key or section.name.startswith(f"{key}.")
        found = section.settings if below else tuple(one for one in section.settings if one.key == key)
        if found or below:
            yield dataclasses.replace(section, settings=found)


def fields(one: SettingInfo) -> dict[str, Any]:
    """A setting as text: key, type, default, range, meaning."""
    secret = " (secret: never written or printed)" if one.declared.secret else ""
    return {
        "key": one.key,
        "type": one.type,
        "default": _written(one.default),
        "range": one.allowed,
        "meaning": one.declared.meaning + secret,
    }


def _written(value: Any) -> str:
    """A default as written in a file; required settings have none."""
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return value if value and isinstance(value, str) else json.dumps(value)
