"""Settings declared secret (`setting(..., secret=True)`): never written, printed, logged or hashed.

Their value is `env:NAME`: the variable NAME of the environment is read when the component is created. A value given
in clear is used, but stored settings have `env:RILBENCH_COMPONENT_SETTING` in its place, so a run from them needs that
variable.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from rilbench.contracts import redact
from rilbench.contracts.errors import ConfigError, RilbenchError
from rilbench.contracts.redact import ENV
from rilbench.contracts.settings import declared, flat
from rilbench.engine.config import RunConfig
from rilbench.engine.layers import COMPONENTS, values_of

if TYPE_CHECKING:
    from rilbench.host.catalog import Catalog

T = TypeVar("T")
PRINTING = ("--json", "--quiet", "-q")  # options that change no result


def names(cls: type) -> list[str]:
    """The secret settings of a dataclass."""
    return [field.name for field in dataclasses.fields(cls) if declared(field).secret]


def resolved(settings: T, where: str) -> T:
    """The settings with `env:NAME` of secret ones read from the environment; ConfigError if a variable is not set."""
    found = {}
    for name in names(type(settings)):
        value = getattr(settings, name)
        if isinstance(value, str) and value.startswith(ENV):
            variable = value.removeprefix(ENV)
            if not os.environ.get(variable):
                raise ConfigError(f"{where}.{name}: the environment variable {variable} is not set; export it")
            found[name] = os.environ[variable]
    return dataclasses.replace(settings, **found) if found else settings  # type: ignore[type-var]


def values(settings: Any) -> list[str]:
    """The secrets of resolved settings."""
    return [value for name in names(type(settings)) if (value := str(getattr(settings, name) or ""))]


def hidden(mapping: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """A configuration, or mappings that contain parts of one, with every secret replaced by the variable to read."""
    kinds, shown = {key: kind for kind, key in COMPONENTS.items()}, dict(mapping)
    for key, value in mapping.items():
        if isinstance(value, Mapping) and key in kinds:
            shown[key] = {name: _component(own, kinds[key], str(name), catalog) for name, own in value.items()}
        elif isinstance(value, Mapping):
            shown[key] = hidden(value, catalog)
    public: dict[str, Any] = redact.values(shown)
    return public


def public(config: RunConfig, catalog: Catalog) -> RunConfig:
    """The configuration as it may be stored."""
    parts = {key: getattr(config, key) for key in COMPONENTS.values()}
    return dataclasses.replace(config, **hidden(parts, catalog))


def command_line(arguments: Sequence[str], catalog: Catalog) -> str:
    """The shell line of a command without its secrets and without options that only change what it prints."""
    kept = [text for text in arguments if text not in PRINTING]
    return shlex.join(["rilbench", *(word for text in kept for word in _words(text, catalog))])


def mask(error: BaseException | None, secrets: Sequence[str]) -> None:
    """Remove secrets from the messages of an error and of those that led to it."""
    while error is not None:
        for secret in secrets:
            error.args = tuple(a.replace(secret, redact.GONE) if isinstance(a, str) else a for a in error.args)
        error = error.__cause__ or error.__context__


def _component(values: Any, kind: str, name: str, catalog: Catalog) -> Any:
    secret: list[str] = []
    with suppress(RilbenchError):  # reported where the component is used
        secret = names(catalog.get(kind, name).load().Settings)
    if not isinstance(values, Mapping):
        return values
    return {key: _reference(name, key, value) if key in secret else value for key, value in values.items()}


def _reference(component: str, key: str, value: Any) -> Any:
    if not value or str(value).startswith(ENV):
        return value
    return ENV + re.sub(r"\W", "_", f"rilbench_{component}_{key}").upper()


def _words(text: str, catalog: Catalog) -> list[str]:
    """A word of a command line; a setting with secrets inside becomes one word for each of its values."""
    words = [text]
    if "=" in text and not text.startswith("-"):
        with suppress(ConfigError):
            given = values_of([text])
            if (shown := hidden(given, catalog)) != given:
                words = [f"{key}={v if isinstance(v, str) else json.dumps(v)}" for key, v in flat(shown).items()]
    return [redact.argument(word) for word in words]
