"""Settings declared secret (`setting(..., secret=True)`): never written, printed, logged or hashed.

Their value is `env:NAME`: the variable NAME of the environment is read when the component is made. A value given in
clear is used, but wherever settings are kept `env:RILBENCH_COMPONENT_SETTING` stands in its place, so what is run from
there needs that variable.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
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
    """The settings with every `env:NAME` of a secret one read from the environment; ConfigError when it is not set."""
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
    """A configuration, or a part of one by its sections, with every secret replaced by the variable to read."""
    sections = {key: _section(mapping[key], kind, catalog) for kind, key in COMPONENTS.items() if key in mapping}
    told: dict[str, Any] = redact.values({**mapping, **sections})
    return told


def public(config: RunConfig, catalog: Catalog) -> RunConfig:
    """The configuration as it may be kept."""
    parts = {key: getattr(config, key) for key in COMPONENTS.values()}
    return dataclasses.replace(config, **hidden(parts, catalog))


def command_line(arguments: Sequence[str], catalog: Catalog) -> str:
    """The shell line of a command without its secrets, and without what only says how it prints."""
    kept = [text for text in arguments if text not in PRINTING]
    return shlex.join(["rilbench", *(word for text in kept for word in _words(text, catalog))])


def mask(error: BaseException | None, secrets: Sequence[str]) -> None:
    """Remove secrets from the messages of an error and of those that led to it."""
    while error is not None:
        error.args = tuple(_masked(part, secrets) if isinstance(part, str) else part for part in error.args)
        error = error.__cause__ or error.__context__


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, redact.GONE)
    return text


def _section(section: Any, kind: str, catalog: Catalog) -> Any:
    if not isinstance(section, Mapping):
        return section
    return {name: _component(values, kind, str(name), catalog) for name, values in section.items()}


def _component(values: Any, kind: str, name: str, catalog: Catalog) -> Any:
    if not isinstance(values, Mapping):
        return values
    secret = set(_secret_names(kind, name, catalog))
    return {key: _reference(name, key, value) if key in secret else value for key, value in values.items()}


def _secret_names(kind: str, name: str, catalog: Catalog) -> Iterator[str]:
    try:
        yield from names(catalog.get(kind, name).load().Settings)
    except RilbenchError:  # whoever uses it hears of that
        return


def _reference(component: str, key: str, value: Any) -> Any:
    if not value or str(value).startswith(ENV):
        return value
    return ENV + re.sub(r"\W", "_", f"rilbench_{component}_{key}").upper()


def _words(text: str, catalog: Catalog) -> list[str]:
    """A word of a command line; a setting with secrets inside becomes one word for each of its values."""
    if "=" in text and not text.startswith("-"):
        try:
            given = values_of([text])
        except ConfigError:
            given = {}
        kept = {key: _section(given[key], kind, catalog) for kind, key in COMPONENTS.items() if key in given}
        if kept and kept != {key: given[key] for key in kept}:
            return [
                f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in flat(kept).items()
            ]
    return [redact.argument(text)]
