"""Work that may take its time or fail without the training noticing."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Job = Callable[[], object]


class Worker:
    """Does one job after another on a daemon thread, which cannot keep the process alive."""

    def __init__(self) -> None:
        self.failure: Exception | None = None  # of the last job; None when it succeeded
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="rilbench-mlflow", daemon=True)

    def put(self, job: Job) -> None:
        """Have a job done; returns at once."""
        self._jobs.put(job)
        if not self._thread.is_alive():
            self._thread.start()

    def is_wanted(self) -> bool:
        """Whether another job waits."""
        return not self._jobs.empty()

    def finish(self, seconds: float) -> bool:
        """Wait for the work, at most so many seconds; whether it is done. No job may follow."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while job := self._jobs.get():
            try:
                job()
                self.failure = None
            except Exception as error:
                self.failure = error
