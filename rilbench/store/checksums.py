"""Checksums inside files, so that a file and its checksum appear in one step.

The checksum is the SHA-256 of the file with the checksum's own digits written as zeros. It is near the beginning:
`"checksum": "..."` in JSON and in the header of safetensors, `checksum: ...` in the first line of a text. A file
without one is accepted, because people write configurations and results by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rilbench.contracts.errors import AGAIN, DamagedError, RilbenchError

KEY = "checksum"
ZEROS = "0" * 64
_STATED = re.compile(  # at the beginning of safetensors, JSON, YAML and checkpoints
    rb'\A(?:.{8}\{"__metadata__":\{[^{}]*|\{\s*"|# )?checksum"?: ?"?([0-9a-f]{64})', re.DOTALL
)
_HEAD, _CHUNK = 1 << 16, 1 << 22  # bytes


def seal(path: Path) -> None:
    """Replace the zeros that a file has in place of its checksum."""
    with path.open("r+b") as file:
        place, _, found = _digests(file)
        file.seek(place)
        file.write(found.encode())


def check(path: Path, remedy: str = AGAIN, *, needed: bool = False) -> None:
    """Raises DamagedError if a file differs from what was written, or has no checksum and one is `needed`.

    OSError if it cannot be read.
    """
    with path.open("rb") as file:
        _, stated, found = _digests(file)
    if needed and not stated:
        raise damaged(path, "it has no checksum, so rilbench did not write it", remedy)
    if stated and stated != found:
        raise damaged(
            path, "its content does not match its checksum; after an edit by hand, remove the checksum", remedy
        )


def checked(path: Path, remedy: str = AGAIN, *, needed: bool = False) -> bytes:
    """The bytes of a small file. Raises the errors of `check`."""
    check(path, remedy, needed=needed)
    return path.read_bytes()


def damaged(path: Path, why: object, remedy: str = AGAIN) -> DamagedError:
    """The error for a damaged file."""
    if path.is_dir():
        return DamagedError(f"{path} is damaged: it is a folder, not a file. Remove it. {remedy}")
    return DamagedError(f"{path} is damaged: {' '.join(str(why).split())[:200].rstrip('.')}. {remedy}")


@contextmanager
def reading(path: Path, remedy: str = AGAIN) -> Iterator[None]:
    """Within, a file is read: DamagedError if it is missing or cannot be read."""
    try:
        yield
    except (RilbenchError, MemoryError):
        raise
    except FileNotFoundError:
        raise damaged(path, "there is no such file", remedy) from None
    except Exception as error:  # also of the library for its format
        raise damaged(path, error, remedy) from None


def _digests(file: BinaryIO) -> tuple[int, str, str]:
    """Position and value of the checksum, empty if there is none, and its correct value."""
    head = file.read(_HEAD)
    match = _STATED.search(head)
    if match is None:
        return 0, "", ""
    start, end = match.span(1)
    digest = hashlib.sha256(head[:start] + ZEROS.encode() + head[end:])
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return start, match.group(1).decode(), digest.hexdigest()
