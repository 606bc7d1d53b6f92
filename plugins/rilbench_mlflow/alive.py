"""Whether a process is at work on a run. The operating system forgets it with the process, however that ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FILE = ".mlflow.alive"


class Presence:
    """Held from a run's start to its end by the process that trains it."""

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    def begin(self, folder: Path) -> None:
        """Hold a run; nothing happens when another process has it."""
        self.end()
        lock = FileLock(folder / FILE, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return
        self._lock = lock

    @property
    def held(self) -> bool:
        return self._lock is not None

    def end(self) -> None:
        """Let go of the run."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None


@contextmanager
def absent(folder: Path) -> Iterator[bool]:
    """Whether no process is at work on a run."""
    presence = Presence()
    presence.begin(folder)
    try:
        yield presence.held
    finally:
        presence.end()
