"""Work that may take its time or fail without the training noticing."""

from __future__ import annotations

import threading
from collections.abc import Callable

Job = Callable[[], None]


class Worker:
    """Does the newest job on a daemon thread, which cannot keep the process alive.

    Jobs that waited while another one ran are left out but for the last: each job includes those before.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None  # of the last job; None when it succeeded
        self._next: Job | None = None
        self._finishing = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="rilbench-mlflow", daemon=True)

    def put(self, job: Job) -> None:
        """Have a job done soon; returns at once."""
        with self._news:
            self._next = job
            self._news.notify()
        if not self._thread.is_alive():
            self._thread.start()

    def is_wanted(self) -> bool:
        """Whether another job waits, or somebody waits for the work to be done."""
        return self._next is not None or self._finishing

    def finish(self, seconds: float) -> bool:
        """Wait for the work, at most so many seconds; whether it is done. No job may follow."""
        with self._news:
            self._finishing = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while job := self._wait():
            try:
                job()
                self.failure = None
            except Exception as error:
                self.failure = error

    def _wait(self) -> Job | None:
        """The newest job; None when there is none and none will follow."""
        with self._news:
            self._news.wait_for(self.is_wanted)
            job, self._next = self._next, None
            return job
