"""Text files of finished and unfinished work. They are written to a temporary name, then renamed; files that are read
again contain a checksum."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rilbench.contracts.errors import AGAIN, RilbenchError
from rilbench.store import temporary
from rilbench.store.checksums import KEY, ZEROS, checked, damaged, reading, seal

WRITING = (OSError, SafetensorError, RuntimeError)  # the last is torch's
_UMASK = os.umask(0)
os.umask(_UMASK)  # reading it is setting it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name next to `path`, which replaces it when the block succeeds.

    Raises RilbenchError if the disk is full or not writable; then `path` is unchanged.
    """
    part = temporary.beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.sweep(path.parent)
        yield part
        share(part)
        os.replace(part, path)
    except WRITING as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception) -> RilbenchError:
    """The error for a file of the store that cannot be written."""
    if path.is_dir():
        return RilbenchError(f"cannot write {path}: there is a folder of that name. Remove it.")
    return RilbenchError(f"cannot write {path}: {error}. Free disk space or choose another folder with store=.")


def in_the_way(folder: Path, mark: str) -> bool:
    """True if the folder contains files that rilbench did not write: it is not empty and has no file `mark`."""
    return folder.exists() and not (folder / mark).exists() and (not folder.is_dir() or any(folder.iterdir()))


def share(path: Path) -> None:
    """Set the usual mode of a new file: safetensors makes files that only their owner can read."""
    path.chmod(0o666 & ~_UMASK)


def write_text(path: Path, text: str, *, sealed: bool = False) -> None:
    """Write a text file completely or not at all.

    sealed: the text is YAML, or another in which `#` begins a comment; its checksum becomes the first line.
    """
    _write(path, f"# {KEY}: {ZEROS}\n{text}" if sealed else text, sealed=sealed)


def read_text(path: Path, *, sealed: bool = False) -> str:
    """Read a text. Raises DamagedError if it is missing, or its checksum is wrong or, for a `sealed` one, missing."""
    with reading(path):
        return checked(path, needed=sealed).decode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, an object with its checksum; NaN and infinities become null."""
    value = finite(value)
    if isinstance(value, Mapping):
        value = {KEY: ZEROS, **{key: v for key, v in value.items() if key != KEY}}
    _write(path, json.dumps(value, indent=1), sealed=isinstance(value, Mapping))


def read_json(path: Path, *, like: Mapping[str, type] | None = None, remedy: str = AGAIN) -> Any:
    """Read JSON without its checksum. Raises DamagedError if it is missing, not JSON, or has a wrong checksum.

    like: required keys of the object, and the types of their values.
    """
    with reading(path, remedy):
        value = json.loads(checked(path, remedy))
    if isinstance(value, dict):
        value.pop(KEY, None)
    for key, kind in (like or {}).items():
        if not isinstance(value, dict) or not isinstance(value.get(key), kind):
            raise damaged(path, f"it has no {key!r} of the expected type", remedy)
    return value


def _write(path: Path, text: str, *, sealed: bool) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
        if sealed:
            seal(part)


def finite(value: Any) -> Any:
    """The same JSON-able value with NaN and infinities as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
