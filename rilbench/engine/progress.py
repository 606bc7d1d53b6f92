"""Progress on stderr: bars on a terminal, plain lines elsewhere, neither when quiet. Warnings always."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rilbench.contracts.redact import redacted
from rilbench.engine.terminal import Terminal

OnBatch = Callable[[int, int], None]  # images, of how many
Advance = Callable[..., None]  # done, of how many, and a remark if there is one, such as the reward
Count = Callable[[int, int | None], str]  # done, of how many if that is known, as text
SOON, LATER = 5.0, 30.0  # seconds from one plain line to the next: of the first two, and at most


class Reporter:
    """Prints what the engine is doing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Terminal(stderr=True)
        self.quiet, self.warned = quiet, False

    def say(self, text: str) -> None:
        """Print a progress line, unless quiet."""
        if not self.quiet:
            self.console.print(text, style="dim", markup=False, soft_wrap=True, highlight=False)

    def warn(self, text: str) -> None:
        """Print a warning, also when quiet."""
        self.warned = True
        self.console.print(f"[yellow]warning:[/yellow] {escape(redacted(text))}", soft_wrap=True, highlight=False)

    def waiting(self, folder: Path) -> None:
        """Another process holds the lock of a stage."""
        self.warn(f"another process is working on {folder}; waiting for it")

    @contextmanager
    def work(self, doing: str, unit: str, key: str = "") -> Iterator[Advance]:
        """Shows the progress of some work, counted in units; yields the function to call when it advances.

        key: the identity of the stage or evaluation that is worked on.
        """
        if not self.console.is_terminal or self.quiet:
            yield Lines(self.say, doing, lambda done, total: f"{unit} {done} of {total}").advance
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(escape(doing), total=None)

            def advance(done: int, total: int, remark: str = "") -> None:
                progress.update(task, completed=done, total=total, description=escape(f"{doing}  {remark}"))

            yield advance


class Pace:
    """When the next plain line is due: the first at once, more of them early, then one every `LATER` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._wait, self._next = clock, SOON, clock()

    def due(self) -> bool:
        """True if a line is due; the next one is then due later."""
        now = self._clock()
        if now < self._next:
            return False
        self._next, self._wait = now + self._wait, min(2 * self._wait, LATER)
        return True


class Lines:
    """Plain lines about one piece of work: when it begins to advance, from time to time, and when it is done."""

    def __init__(
        self, say: Callable[[str], None], doing: str, count: Count, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._doing, self._count, self._clock = say, doing, count, clock
        self._pace = Pace(clock)
        self._begun: tuple[float, int] | None = None  # the first call: its time and what was done then

    def advance(self, done: int, total: int | None, remark: str = "") -> None:
        """Report that `done` of `total` units are done."""
        if self._begun is None:
            self._begun = self._clock(), done
        if self._pace.due() or done == total:
            parts = [f"{self._doing}: {self._count(done, total)}", remark, self._left(done, total)]
            self._say(", ".join(part for part in parts if part))

    def _left(self, done: int, total: int | None) -> str:
        """The remaining time at the speed since the first call, which excludes loading."""
        assert self._begun
        begun, before = self._begun
        if total is None or not before < done < total:
            return ""
        return f"{duration((self._clock() - begun) / (done - before) * (total - done))} left"


def duration(seconds: float) -> str:
    """An estimated duration as text."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
