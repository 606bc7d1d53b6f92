"""Locks of folders: one process at a time works in one, the next finds the work done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.store.files import unwritable

LOCK = ".lock"


@contextmanager
def locked(folder: Path, waiting: Callable[[Path], None]) -> Iterator[None]:
    """The folder is made, and taken away again when nothing was written in it. `waiting` hears of another process."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting(folder)
            lock.acquire()
    except OSError as error:
        raise unwritable(folder / LOCK, error) from None
    try:
        yield
    finally:
        _tidy(folder, new)
        lock.release()


def _tidy(folder: Path, new: Sequence[Path]) -> None:
    """Remove folders without a file and the lock with them, then the `new` ones above; who waits for the lock makes
    them anew."""
    with suppress(OSError):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
        for path in new[1:]:
            path.rmdir()
