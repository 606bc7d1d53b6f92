"""Checks of every component, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rilbench.contracts import settings
from rilbench.contracts.components import API_VERSION
from rilbench.contracts.errors import ConfigError, PluginError, reason
from rilbench.contracts.files import NeededFile
from rilbench.engine import identity
from rilbench.engine.documents import settings_document
from rilbench.testing.check import Fault, Subject, check, require

WRONG: tuple[Any, ...] = ({"no": "such value"}, ["no such value"], "no such value")  # no type takes all three
ACCEPTED, REFUSED = "no error", "a ConfigError"  # what becomes of a wrong setting
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
    require(isinstance(cls, type) and is_dataclass(cls), f"Settings is {cls!r}, not a dataclass")
    require(cls.__dataclass_params__.frozen, f"Settings ({cls.__name__}) is not frozen")


@check(settings_are_a_frozen_dataclass)
def settings_can_be_built(subject: Any_) -> None:
    """Every setting has a default or a given value, and passes the engine's validation."""
    try:
        _ = subject.settings
    except ConfigError as error:
        raise Fault(f"settings cannot be built from {subject.values or 'the defaults'}: {error}") from error


@check(settings_can_be_built)
def settings_can_be_stored(subject: Any_) -> None:
    """Settings are numbers, texts, Enum, Path, and lists and mappings of these: they are part of a stage's identity."""
    try:
        identity.digest(settings_document(subject.settings))
    except (ConfigError, TypeError, ValueError) as error:
        raise Fault(str(error)) from error


@check(settings_can_be_built, not_for=lambda s: None if fields(s.component.Settings) else "it has no settings")
def settings_refuse_wrong_types(subject: Any_) -> None:
    """Each setting has a type, and a value of another type is an error before any weight is loaded."""
    for name in (field.name for field in fields(subject.component.Settings)):
        answers = [_answer(subject, name, value) for value in WRONG]
        require(set(answers) != {ACCEPTED}, f"setting {name!r} accepts a mapping, a list and a text; give it a type")
        for answer in answers:
            fault = f"a wrong value of setting {name!r} gives {answer}, not a ConfigError"
            require(answer in (ACCEPTED, REFUSED), fault)


def _answer(subject: Any_, name: str, value: Any) -> str:
    """ACCEPTED, REFUSED with an error that a user can act on, or the class's own exception."""
    try:
        settings.build(subject.component.Settings, {**subject.values, name: value}, "settings")
    except Exception as error:
        clear = isinstance(error, ConfigError) and not isinstance(error, PluginError)
        return REFUSED if clear else reason(error)
    return ACCEPTED


@check(settings_can_be_built)
def files_are_declared(subject: Any_) -> None:
    """`files` returns a list of NeededFile from the settings alone; a run calls it before anything is loaded."""
    files = subject.component.files(subject.settings)
    listed = isinstance(files, Sequence) and all(isinstance(file, NeededFile) for file in files)
    require(listed, f"files returns {files!r:.100}, not a list of NeededFile")


@check(settings_can_be_built)
def can_be_made(subject: Any_) -> None:
    """`cls(settings, device=...)` returns an instance; the engine creates components like this."""
    _ = subject.instance
