"""Work that may take its time or fail without the training noticing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

Job = Callable[[], None]


class Worker:
    """Does the newest job on a daemon thread, which cannot keep the process alive.

    Jobs that waited while another one ran are left out but for the last: each job includes those before.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None  # of the last job; None when it succeeded
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="rilbench-mlflow", daemon=True)

    def put(self, job: Job) -> None:
        """Have a job done soon; returns at once."""
        self._jobs.put(job)
        if not self._thread.is_alive():
            self._thread.start()

    def is_wanted(self) -> bool:
        """Whether another job waits, or somebody waits for the work to be done."""
        return not self._jobs.empty()

    def finish(self, seconds: float) -> bool:
        """Wait for the work, at most so many seconds; whether it is done. No job may follow."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        waiting: list[Job | None] = []
        while None not in waiting:
            waiting = self._waiting()
            jobs = [job for job in waiting if job is not None]
            if jobs:
                self._do(jobs[-1])

    def _waiting(self) -> list[Job | None]:
        waiting = [self._jobs.get()]
        with suppress(Empty):
            while True:
                waiting.append(self._jobs.get_nowait())
        return waiting

    def _do(self, job: Job) -> None:
        try:
            job()
            self.failure = None
        except Exception as error:
            self.failure = error
