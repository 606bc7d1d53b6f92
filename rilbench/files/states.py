"""Whether files changed, by their sizes and times, which is faster than reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from rilbench.files.fingerprints import walked


def states(paths: Iterable[Path], suffix: str = "") -> dict[str, str]:
    """Path to the state of a file, or of all files of a folder with this suffix; empty if there is nothing."""
    return {str(path): _state(path, suffix) for path in paths}


def changed_after(paths: Iterable[Path], moment: int) -> bool:
    """True if a file, or one in a folder, was written, renamed or added after a moment, in ns since 1970."""
    found = (file.stat() for path in paths for file in _files(path, ""))
    return any(max(state.st_mtime_ns, state.st_ctime_ns) > moment for state in found)


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files and of all files of folders."""
    return sum(os.stat(file).st_size for path in paths for file in _files(path, ""))


def _state(path: Path, suffix: str) -> str:
    lines = [_line(file) for file in _files(path, suffix)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:16] if lines else ""


def _line(file: Path) -> str:
    state = os.stat(file)
    return f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ctime_ns}"


def _files(path: Path, suffix: str) -> Iterator[Path]:
    if os.path.isdir(path):  # False for a setting that only looks like a path, and is longer than a path may be
        yield from (file for file in walked(path) if file.name.endswith(suffix))
    elif os.path.isfile(path):
        yield path
