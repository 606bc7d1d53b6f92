"""Settings as they enter a result's identity: plain values, with files replaced by hashes of their contents."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from rilbench.contracts import redact
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import SCHEMES
from rilbench.contracts.settings import declared, is_unset, types_of
from rilbench.contracts.values import choices
from rilbench.files.fingerprints import resolved_fingerprint
from rilbench.files.hub import commit_of, is_hub_id

Read = Callable[[str], str]
LIKE_A_PATH = re.compile(r".*[/\\\\].*|~.*|[^\s/]+\.[A-Za-z][A-Za-z0-9]{0,11}")  # a folder in it, or a file's ending


def settings_document(settings: Any, read: Read | None = None) -> dict[str, Any]:
    """Name to value of a component's settings.

    Paths to files and folders are replaced by the hash of their contents, ids of the Hub by the commit. A value is a
    path when the setting is declared as one (`setting(..., path=True)`), is of type `Path`, or looks like one: with a
    folder, a scheme, or the ending of a file. A name such as `baseline` is not a path, whatever the working folder
    contains. Settings declared secret are left out, and so are the secrets of addresses. ConfigError for a value of a
    type that cannot be stored. `read` returns the replacement for a path, by default that hash.
    """
    read, document = read or _contents, {}
    cls: type = type(settings)
    for field in (field for field in dataclasses.fields(settings) if not declared(field).secret):
        value, kind = getattr(settings, field.name), types_of(cls)[field.name]
        if is_unset(field, value):
            continue
        if declared(field).path and isinstance(value, str):
            document[field.name] = read(value)
        else:
            document[field.name] = plain(value, field.name, read, paths=not choices(kind))
    public: dict[str, Any] = redact.values(document)
    return public


def paths_in(settings: Any) -> list[str]:
    """The values of a component's settings that are paths, as `settings_document` takes them."""
    paths: list[str] = []

    def noted(text: str) -> str:
        paths.append(text)
        return text

    settings_document(settings, read=noted)
    return paths


def plain(value: Any, name: str, read: Read, *, paths: bool = True) -> Any:
    """A value as JSON; ConfigError, naming the setting, for a value that JSON cannot represent."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return read(str(value))
    if isinstance(value, str):
        return read(value) if paths and _is_path(value) else value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(plain(key, name, read, paths=False)): plain(v, name, read, paths=paths) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, name, read, paths=paths) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return settings_document(value, read)
    remedy = "use numbers, texts, Enum, Path, and lists, mappings and dataclasses of these"
    raise ConfigError(f"setting {name!r} is of type {type(value).__name__}, which cannot be stored; {remedy}")


def _is_path(text: str) -> bool:
    if not re.search(r"\w", text):  # a separator, such as `/`, which is the whole disk
        return False
    return text.startswith(("package:", *SCHEMES)) or bool(LIKE_A_PATH.fullmatch(text))


def _contents(text: str) -> str:
    """The hash of a file or folder; for an id of the Hub, the id with its commit if the cache has it."""
    if (found := resolved_fingerprint(text)) != text or not is_hub_id(text):
        return found
    repo, _, revision = text.partition("@")
    commit = commit_of(repo, revision or "main")
    return text if commit == (revision or "main") else f"{repo}@{commit}"
