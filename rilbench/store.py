"""Text files of finished and unfinished work. Everything is written to a temporary name, then renamed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rilbench.errors import ConfigError, RilbenchError

_UMASK = os.umask(0)
os.umask(_UMASK)  # reading it is setting it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes it when the block succeeds.

    RilbenchError when the disk is full or not writable; then `path` is what it was.
    """
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        share(part)
        os.replace(part, path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception) -> RilbenchError:
    """What to say of a file of the store that cannot be written."""
    return RilbenchError(f"cannot write {path}: {error}. Free the disk or choose another store=.")


def in_the_way(folder: Path, mark: str) -> bool:
    """Whether there is anything but an empty folder, or one of ours, which has a file of the name `mark`."""
    return folder.exists() and not (folder / mark).exists() and (not folder.is_dir() or any(folder.iterdir()))


def share(path: Path) -> None:
    """Give a file the mode of any new one: safetensors writes them for their owner alone."""
    path.chmod(0o666 & ~_UMASK)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or none."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=1))


def read_json(path: Path) -> Any:
    """Read JSON; ConfigError when the file is not."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"cannot read {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Delete its folder to have it made again.") from None


def finite(value: Any) -> Any:
    """The same JSON-able value with NaN and infinities as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
