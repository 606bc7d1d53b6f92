"""Locks of folders: one process at a time works in a folder; the next one finds the work done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.store.files import unwritable

LOCK = ".lock"


@contextmanager
def locked(folder: Path, waiting: Callable[[Path], None]) -> Iterator[None]:
    """Creates the folder, and removes it at the end if it is empty. `waiting` is called if another process holds it."""
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
    """Remove folders without files together with the lock, then the `new` ones above; waiting processes create them
    again."""
    with suppress(OSError):
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
        for path in new[1:]:
            path.rmdir()
