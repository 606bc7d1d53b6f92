"""Progress and remaining time of a study: bars on a terminal, else plain lines; if quiet, failures only."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from rilbench.engine.progress import Pace, Reporter, duration
from rilbench_study.cells import Cell
from rilbench_study.schedule import Schedule
from rilbench_study.worker import Event


@dataclass
class Doing:
    """The current work of a worker: its key, description, finished fraction and progress bar."""

    bar: TaskID
    key: str = ""
    text: str = ""
    fraction: float = 0.0


class StudyProgress:
    """Displays a schedule. `seconds` are the estimates for all work that was missing at the start."""

    def __init__(
        self, schedule: Schedule, seconds: Mapping[str, float], *, runs: int, workers: int, quiet: bool = False
    ) -> None:
        self.schedule, self.seconds, self.runs, self.workers = schedule, seconds, runs, workers
        self.over = runs - len(schedule.waiting)
        self.reporter, self.quiet = Reporter(quiet=quiet), quiet
        self.console = self.reporter.console
        self.begun: float | None = None  # when the first worker had loaded its libraries
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
        self.live = self.console.is_terminal and not quiet
        self.bars = Progress(*columns, console=self.console, disable=not self.live, transient=True)
        self.total = self.bars.add_task("", total=sum(seconds.values()), left="")
        self.doing: dict[int, Doing] = {}  # by worker
        self.paces: defaultdict[int, Pace] = defaultdict(Pace)  # likewise
        self.warned: set[str] = set()

    def __enter__(self) -> Self:
        self._refresh()
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def warn(self, text: str) -> None:
        """Print a warning once, even if every run of the study reports it."""
        if text not in self.warned:
            self.warned.add(text)
            self.reporter.warn(text)

    def work(self, worker: int, event: Event) -> None:
        """A worker began, advanced or ended a piece of work."""
        self.begun = self.begun or time.monotonic()
        if worker not in self.doing:
            self.doing[worker] = Doing(self.bars.add_task("", total=1.0, left=""))
        now = self.doing[worker]
        now.key, now.fraction = event.text, event.fraction
        if event.kind == "begun":
            now.text = escape(f"{self.schedule.running[worker]}, {event.label}")
        self.bars.update(now.bar, description=f"  {now.text}", completed=event.fraction)
        self._refresh()
        if event.kind == "update" and not (self.live or self.quiet) and self.paces[worker].due():
            self._line(f"{now.text}: {escape(event.label)}")

    def finished(self, worker: int, cell: Cell, failure: str) -> None:
        """A cell has finished or failed."""
        self.over += 1
        if worker in self.doing:
            self.bars.remove_task(self.doing.pop(worker).bar)
        self._refresh()
        if failure:
            self._line(f"{escape(str(cell))} [red]failed:[/red] {escape(failure)}")
        elif not self.quiet:
            self._line(f"{escape(str(cell))} finished")

    def _line(self, text: str) -> None:
        left = f" ({self._left()})" if self._left() else ""
        self.console.print(f"{self._heading()}: {text}{left}", soft_wrap=True, highlight=False)

    def _refresh(self) -> None:
        self.bars.update(self.total, description=self._heading(), completed=self._done(), left=self._left())

    def _heading(self) -> str:
        return f"{self.over} of {self.runs} runs"

    def _done(self) -> float:
        """Estimated seconds of the finished work, including partly finished pieces."""
        left = self.schedule.left()
        parts = {now.key: now.fraction for now in self.doing.values() if now.key in left}
        remaining = sum(self.seconds.get(key, 0.0) * (1 - parts.get(key, 0.0)) for key in left)
        return sum(self.seconds.values()) - remaining

    def _left(self) -> str:
        """The remaining time: from the estimates; from the measured pace once 5 % is done."""
        total, done = sum(self.seconds.values()), self._done()
        if done >= total:
            return ""
        pace = 1 / self.workers
        if self.begun is not None and done > total / 20:
            pace = (time.monotonic() - self.begun) / done
        return f"{duration((total - done) * pace)} left"
