"""Names of unfinished files, and removal of those that killed processes left.

`.NAME.MACHINE-PROCESS-RANDOM.part`: process ids repeat on other machines and in other containers, so the name contains
both.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

LONGEST = 150  # bytes of a name that is kept; file systems take 255
OLD_SECONDS = 24 * 3600  # the age at which another machine's file counts as left behind
_NAME = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part", re.DOTALL)


def beside(path: Path) -> Path:
    """A name for a file or folder that becomes `path` when it is complete."""
    return path.with_name(f"{_begin(path.name)}{machine()}-{os.getpid()}-{secrets.token_hex(4)}.part")


def sweep(folder: Path, name: str = "", *, alone: bool = False) -> None:
    """Delete what killed processes left in a folder, of the file `name` or of all files.

    alone: no other process can be writing there, because the caller holds the lock.
    """
    for path in leftovers(folder, alone=alone):
        if path.name.startswith(_begin(name) if name else "."):
            remove(path)


def leftovers(folder: Path, *, alone: bool = False) -> Iterator[Path]:
    """The temporary files and folders in a folder whose process is gone."""
    with suppress(OSError):
        for path in [path for path in folder.iterdir() if path.name.endswith(".part")]:
            match = _NAME.fullmatch(path.name)
            if match and (alone or _is_left(path, match.group(1), int(match.group(2)))):
                yield path


def remove(path: Path) -> None:
    """Delete a file, a link or a whole folder; ignores what cannot be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@cache
def machine() -> str:
    """Eight hexadecimal digits: the host, since it was started, and the container, where process ids are unique."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _begin(name: str) -> str:
    return f".{name.encode()[:LONGEST].decode(errors='ignore')}."


def _is_left(path: Path, where: str, process: int) -> bool:
    if where == machine():
        return not _lives(process)
    return time.time() - path.lstat().st_mtime > OLD_SECONDS


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
