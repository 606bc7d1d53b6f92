"""Runs cells, in this process or in a worker, and reports progress as small events."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.contracts.errors import RilbenchError, reason
from rilbench.engine.config import RunConfig
from rilbench.engine.progress import Advance, Reporter
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller
from rilbench.host.import_threads import not_awaited
from rilbench.host.plugin import Plugin


class Job(NamedTuple):
    """A cell for a worker: what to run, and the command that repeats it."""

    config: RunConfig
    command: str


class Event(NamedTuple):
    """`begun`, `update` and `done` of a piece of work (text is its key), `warning`, or `over` (text is the failure).

    label: the name of the work that began, or its progress.
    """

    kind: str
    text: str
    label: str = ""
    fraction: float = 0.0


Tell = Callable[[Event], None]


class CellReporter(Reporter):
    """Sends events instead of drawing progress bars."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(quiet=True)
        self.tell = tell

    def warn(self, text: str) -> None:
        self.tell(Event("warning", text))

    def waiting(self, folder: Path) -> None:
        """Print nothing: the other worker reports its own progress."""

    @contextmanager
    def work(self, doing: str, unit: str, key: str = "") -> Iterator[Advance]:
        self.tell(Event("begun", key, doing))

        def advance(done: int, total: int, remark: str = "") -> None:
            counted = f"{unit} {done} of {total}"
            self.tell(Event("update", key, f"{counted}, {remark}" if remark else counted, done / total))

        yield advance
        self.tell(Event("done", key))


class Runner:
    """Runs cells one after the other with one set of hook plugins."""

    def __init__(self, catalog: Catalog, hooks: HookCaller, tell: Tell) -> None:
        self.catalog, self.hooks, self.tell = catalog, hooks, tell

    def run(self, job: Job) -> None:
        """Run a cell; an exception ends only this cell and is reported in the event `over`."""
        from rilbench.engine import run as engine

        reporter, failure = CellReporter(self.tell), ""
        try:
            with _warnings_to(reporter.warn):
                engine.run(job.config, catalog=self.catalog, reporter=reporter, command=job.command, hooks=self.hooks)
        except RilbenchError as error:
            failure = str(error)
        except Exception as error:  # a bug or an exhausted device must not end the other cells
            failure = reason(error)
        self.tell(Event("over", failure))


@contextmanager
def _warnings_to(warn: Callable[[str], None]) -> Iterator[None]:
    """Send Python's warnings as events: printed once, and not in the middle of a progress bar."""
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: warn(str(message))
    try:
        yield
    finally:
        warnings.showwarning = before


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The settings of a worker process."""

    number: int
    threads: int
    extra: tuple[Plugin, ...]  # of the catalog
    tracking: bool
    trackers: tuple[str, ...]


@not_awaited(lambda text: None)  # the parent warns of these
def work(connection: Connection, setup: Setup) -> None:
    """The main loop of a worker process: receives jobs until None, sends events.

    The parent handles Ctrl-C; SIGTERM, which is also sent when the parent has died, stops a run cleanly.
    """
    stopped = threading.Event()  # some libraries swallow the exception while they are imported

    def stop(signum: int, frame: Any) -> None:
        stopped.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        runner = _runner(connection.send, setup)
        while not stopped.is_set() and (job := connection.recv()) is not None:
            runner.run(job)
    except (KeyboardInterrupt, BrokenPipeError, EOFError):  # stopped, or the parent is gone
        raise SystemExit(1) from None


def _runner(tell: Tell, setup: Setup) -> Runner:
    import torch

    from rilbench.model.libraries import quiet_libraries

    quiet_libraries()
    torch.set_num_threads(setup.threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(setup.number % torch.cuda.device_count())  # what the device `cuda` then means
    catalog = Catalog(setup.extra)
    hooks = HookCaller(catalog, CellReporter(tell).warn, enabled=setup.tracking, named=setup.trackers)
    return Runner(catalog, hooks, tell)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
