"""Worker processes: starts them, gives them jobs, replaces dead ones and stops them on Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext

from rilbench_study.worker import Event, Job, Setup, work

GRACE_SECONDS = 30.0  # for a stopped run to save its work and to notify trackers

Next = Callable[[int], Job | None]
Handle = Callable[[int, Event], None]


def starting() -> ForkServerContext | SpawnContext:
    """How workers start: as copies of a process that has imported the libraries. A copy cannot use a GPU."""
    import torch

    if sys.platform != "linux" or torch.accelerator.is_available():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["rilbench_study.loaded"])
    return context


class Member:
    """One worker process and the pipe to it."""

    def __init__(self, setup: Setup) -> None:
        context = starting()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, setup), name=f"rilbench-{setup.number}")
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all processes of a command
        try:
            self.process.start()
        finally:
            signal.signal(signal.SIGINT, heard)
        theirs.close()  # so that this end notices when the worker dies

    def death(self) -> str:
        """How the process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed, most likely because the machine ran out of memory"
        return f"its process died from {signal.Signals(-code).name}" if code < 0 else f"its process exited with {code}"


class Pool:
    """Several workers. `next_job` returns a worker's next job; `handle` receives its events, and `lost` if it died."""

    def __init__(self, setups: Sequence[Setup], next_job: Next, handle: Handle) -> None:
        self.setups, self.next_job, self.handle = setups, next_job, handle
        self.members: dict[int, Member] = {}
        self.busy: set[int] = set()

    def run(self) -> None:
        """Do all jobs. On any exception, including KeyboardInterrupt, the workers are stopped first."""
        try:
            for setup in self.setups:
                self._give(setup.number)
            while self.busy:
                connections = {self.members[number].connection: number for number in self.busy}
                for ready in wait(list(connections)):
                    self._hear(connections[ready])  # type: ignore[index]
            for member in self.members.values():
                with suppress(BrokenPipeError):
                    member.connection.send(None)
            self._join()
        finally:
            self._stop()

    def _give(self, number: int) -> None:
        """Send the next job to a worker, and start the worker if needed."""
        job = self.next_job(number)
        if job is None:
            return
        if number not in self.members:
            self.members[number] = Member(self.setups[number])
        self.busy.add(number)
        with suppress(BrokenPipeError):  # it died; `_hear` sees that
            self.members[number].connection.send(job)

    def _hear(self, number: int) -> None:
        try:
            event = self.members[number].connection.recv()
        except (EOFError, ConnectionResetError):
            event = Event("lost", self.members.pop(number).death())
        self.handle(number, event)
        if event.kind in ("over", "lost"):
            self.busy.discard(number)
            self._give(number)

    def _join(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        for member in self.members.values():
            member.process.join(max(0.0, deadline - time.monotonic()))

    def _stop(self) -> None:
        """End every process that is still alive: SIGTERM, then SIGKILL; a second Ctrl-C does not wait."""
        for member in self.members.values():
            member.process.terminate()
        try:
            self._join()
        finally:
            for member in self.members.values():
                member.process.kill()
