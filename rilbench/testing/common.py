"""What every component owes the engine, whatever its kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rilbench.contracts import settings
from rilbench.contracts.components import API_VERSION
from rilbench.contracts.errors import ConfigError, PluginError, reason
from rilbench.contracts.files import NeededFile
from rilbench.engine import identity
from rilbench.engine.documents import settings_document
from rilbench.testing.check import Fault, Subject, check, require

WRONG: tuple[Any, ...] = ({"no": "such value"}, ["no such value"], "no such value")  # no type takes all three
Any_ = Subject[Any]


@check()
def is_documented(subject: Any_) -> None:
    """The class has a docstring that says what it measures or does, because users choose by it."""
    require(bool((subject.component.__dict__.get("__doc__") or "").strip()), "the class has no docstring")


@check()
def api_version_is_supported(subject: Any_) -> None:
    """`api_version` is a version that this rilbench supports; a run refuses others."""
    version = subject.component.api_version
    require(version == API_VERSION, f"api_version is {version!r}; this rilbench supports {API_VERSION}")


@check()
def settings_are_a_frozen_dataclass(subject: Any_) -> None:
    """`Settings` cannot change during a run, because they are part of a stage's identity."""
    cls = subject.component.Settings
    require(isinstance(cls, type) and dataclasses.is_dataclass(cls), f"Settings is {cls!r}, no dataclass")
    require(cls.__dataclass_params__.frozen, f"Settings ({cls.__name__}) is not frozen")


@check(settings_are_a_frozen_dataclass)
def settings_can_be_built(subject: Any_) -> None:
    """Every setting has a default or a given value, and passes the engine's validation."""
    try:
        _ = subject.settings
    except ConfigError as error:
        raise Fault(f"settings cannot be made of {subject.values or 'the defaults'}: {error}") from error


@check(settings_can_be_built)
def settings_can_be_stored(subject: Any_) -> None:
    """Settings are numbers, texts, Enum, Path, and lists and mappings of these: they are part of a stage's identity."""
    try:
        identity.digest(settings_document(subject.settings))
    except (ConfigError, TypeError, ValueError) as error:
        raise Fault(str(error)) from error


def _no_settings(subject: Any_) -> str | None:
    cls = subject.component.Settings
    has_fields = dataclasses.is_dataclass(cls) and dataclasses.fields(cls)
    return None if has_fields or not dataclasses.is_dataclass(cls) else "it has no settings"


@check(settings_can_be_built)
def settings_refuse_unknown_keys(subject: Any_) -> None:
    """A misspelt setting is an error; otherwise a run silently uses the default."""
    refusal = _refusal(subject, {"no_such_setting": 1})
    require(refusal is not None, "an unknown setting is accepted")
    require(_clear(refusal), f"an unknown setting gives {_brief(refusal)}, not a ConfigError")


@check(settings_can_be_built, not_for=_no_settings)
def settings_refuse_wrong_types(subject: Any_) -> None:
    """Each setting has a type, and a value of another type is an error before any weight is loaded."""
    for field in dataclasses.fields(subject.component.Settings):
        refusals = [_refusal(subject, {field.name: value}) for value in WRONG]
        require(any(refusals), f"setting {field.name!r} accepts a mapping, a list and a text alike; give it a type")
        for refusal in refusals:
            fault = f"a wrong value of setting {field.name!r} gives {_brief(refusal)}, not a ConfigError"
            require(refusal is None or _clear(refusal), fault)


def _clear(refusal: Exception | None) -> bool:
    """Whether a user can act on it; a PluginError is what became of the class's own exception."""
    return isinstance(refusal, ConfigError) and not isinstance(refusal, PluginError)


def _refusal(subject: Any_, values: Mapping[str, Any]) -> Exception | None:
    try:
        settings.build(subject.component.Settings, {**subject.values, **values}, "settings")
    except Exception as error:
        return error
    return None


def _brief(error: Exception | None) -> str:
    return "no error" if error is None else reason(error)


@check(settings_can_be_built)
def files_are_declared(subject: Any_) -> None:
    """`files` returns a list of NeededFile from the settings alone; a run calls it before anything is loaded."""
    files = subject.component.files(subject.settings)
    listed = isinstance(files, Sequence) and all(isinstance(file, NeededFile) for file in files)
    require(listed, f"files gives {files!r:.100}, no list of NeededFile")


@check(settings_can_be_built)
def can_be_made(subject: Any_) -> None:
    """`cls(settings, device=...)` returns an instance; the engine creates components like this."""
    _ = subject.instance
