"""Progress on stderr: a live display on a terminal, nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

OnUpdate = Callable[[int, int, dict[str, float]], None]  # update, of how many, its logged values
OnBatch = Callable[[int, int], None]  # images, of how many


class Reporter:
    """Where the engine says what it is doing."""

    def __init__(self, *, stages: int = 0, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.stages = stages

    def say(self, text: str) -> None:
        """A passing remark, on a terminal only."""
        if self.console.is_terminal:
            self.console.print(text, style="dim", markup=False)

    def warn(self, text: str) -> None:
        """Something the user should know, always."""
        self.console.print(f"[yellow]warning:[/yellow] {escape(text)}", soft_wrap=True, highlight=False)

    def waiting(self, folder: Path) -> None:
        """Another process holds the lock of a stage."""
        self.warn(f"another process works on {folder}; waiting for it")

    @contextmanager
    def stage(self, index: int, label: str, key: str = "") -> Iterator[OnUpdate]:
        """The training of a stage, whose identity is `key`; yields the function to call after each update."""
        with self._progress() as progress:
            task = progress.add_task(f"stage {index} of {self.stages}: {label}", total=None)

            def on_update(update: int, total: int, values: dict[str, float]) -> None:
                shown = "  ".join(f"{k} {values[k]:.4g}" for k in ("reward", "loss") if k in values)
                text = f"stage {index} of {self.stages}: {label}  {shown}"
                progress.update(task, completed=update, total=total, description=text)

            yield on_update

    @contextmanager
    def evaluation(self, label: str, key: str = "") -> Iterator[OnBatch]:
        """The evaluation of a stage, `key` names both; yields the function to call after each batch."""
        with self._progress() as progress:
            task = progress.add_task(f"  measuring after {label}", total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def images(self, doing: str) -> Iterator[OnBatch]:
        """Images that are made outside a run; yields the function to call after each batch."""
        with self._progress() as progress:
            task = progress.add_task(doing, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self.console, disable=not self.console.is_terminal, transient=True)
