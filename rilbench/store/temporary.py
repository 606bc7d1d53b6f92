"""Names of unfinished files, and removal of those that killed processes left.

`.NAME.RANDOM.part`: no two processes have the same, on whatever machine.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LONGEST = 150  # bytes of a name that is kept; file systems take 255
OLD_SECONDS = 24 * 3600  # the age from which no process writes to it any more
_NAME = re.compile(r"\..*\.[0-9a-f]{16}\.part", re.DOTALL)


def beside(path: Path) -> Path:
    """A name for a file or folder that becomes `path` when it is complete."""
    begin = path.name.encode()[:LONGEST].decode(errors="ignore")
    return path.with_name(f".{begin}.{secrets.token_hex(8)}.part")


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Delete what killed processes left in a folder.

    alone: no other process can be writing there, because the caller holds the lock.
    """
    for path in leftovers(folder, alone=alone):
        remove(path)


def leftovers(folder: Path, *, alone: bool = False) -> Iterator[Path]:
    """The temporary files and folders in a folder that nobody has written to for a day."""
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]:
            if alone or time.time() - path.lstat().st_mtime > OLD_SECONDS:
                yield path


def remove(path: Path) -> None:
    """Delete a file, a link or a whole folder; ignores what cannot be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
