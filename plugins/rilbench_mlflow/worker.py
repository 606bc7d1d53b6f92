"""Runs jobs in the background, where delays and failures do not affect training."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Job = Callable[[], object]


class Worker:
    """Runs one job after another on a daemon thread, which does not keep the process alive."""

    def __init__(self) -> None:
        self.failure: Exception | None = None  # of the last job; None when it succeeded
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="rilbench-mlflow", daemon=True)

    def put(self, job: Job) -> None:
        """Queue a job; returns at once."""
        self._jobs.put(job)
        if not self._thread.is_alive():
            self._thread.start()

    def is_wanted(self) -> bool:
        """Whether another job waits."""
        return not self._jobs.empty()

    def finish(self, seconds: float) -> bool:
        """Wait at most `seconds` for all jobs; returns whether they are done. No job may be queued afterwards."""
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
