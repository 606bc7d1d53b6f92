"""Locks of folders: one process at a time works in one, the next finds the work done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.store import unwritable

LOCK = ".lock"


@contextmanager
def locked(folder: Path, waiting: Callable[[Path], None]) -> Iterator[None]:
    """The folder is made, and taken away again when nothing was written in it. `waiting` hears of another process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting(folder)
            lock.acquire()
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield
    finally:
        _tidy(folder)
        lock.release()


def _tidy(folder: Path) -> None:
    """Remove the lock, then the folder, when there is nothing else in it; who waits for the lock makes both anew."""
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
