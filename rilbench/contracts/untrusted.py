"""Names, paths and texts from files and plugins, which may come from anyone: checked when they are read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError

NAME = re.compile(r"[^./\\\n\t][^/\\\n\t]*")
LONGEST = 255  # bytes of a name that file systems take
# what moves the cursor, rings, recolours or turns the direction of writing; line ends and tabs are for the reader
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def name(value: Any, what: str) -> str:
    """A name of a file or folder, without folders; ConfigError naming `what` for anything else."""
    text = value if isinstance(value, str) else ""
    if not NAME.fullmatch(text) or CONTROL.search(text) or len(text.encode(errors="replace")) > LONGEST:
        fault = f"{what}: {str(value)[:80]!r} is not the name of a file or folder"
        raise ConfigError(f"{fault}; the file is damaged, or was changed to point elsewhere")
    return text


def relative(value: Any, what: str) -> str:
    """A relative path, below the folder it starts from; may be empty."""
    parts = value.split("/") if isinstance(value, str) else [value]
    return "/".join(name(part, what) for part in parts) if value != "" else ""


def inside(folder: Path, path: str | Path) -> Path | None:
    """A file or folder below `folder`; None if it is not there, or a link leads out of `folder` on the way to it."""
    there = folder / path
    within = there.exists() and there.resolve().is_relative_to(folder.resolve())
    return there if within else None


def open_own(path: str, flags: int) -> int:
    """An opener for `open` that follows no link to write somewhere else."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if Path(path).is_symlink():
            raise OSError(error.errno, "it is a link, and writing follows no links; remove it", path) from None
        raise


def printable(text: str) -> str:
    """A text for a terminal, with control characters shown as `?`."""
    return CONTROL.sub("?", text)
