"""The hook plugin. A server that is down, slow or wrong costs nothing but the upload, which can be repeated."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from rilbench import hookimpl
from rilbench.result import RunResult
from rilbench.terminal import Terminal
from rilbench_mlflow import commands
from rilbench_mlflow.address import public, tracking_uri
from rilbench_mlflow.connection import NoAnswer
from rilbench_mlflow.fetch import find
from rilbench_mlflow.reasons import reason
from rilbench_mlflow.state import complete, location
from rilbench_mlflow.study import show
from rilbench_mlflow.upload import send
from rilbench_mlflow.worker import Worker

WAIT_SECONDS = 20


class MlflowTracker:
    """Sends each run in the background while it trains, one run after another, and shows a study at its end.

    A server that does not answer is warned of once, and then left alone for the rest of the process.
    """

    def __init__(self) -> None:
        self.worker = Worker()
        self.warned = False  # of this run
        self.gone = False

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Make the MLflow run, or take up the one that exists."""
        self.worker, self.warned = Worker(), False
        self._send(folder, result, "RUNNING")

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult) -> None:
        """Send a row and its stage's training curves and pictures."""
        self._warn_of_failure(folder)
        self._send(folder, result, "RUNNING")

    @hookimpl
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """Send the summary; wait for it at most WAIT_SECONDS."""
        self._send(folder, result, "FINISHED")
        self._wait(folder)

    @hookimpl
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """Close the MLflow run as FAILED, or as KILLED when somebody stopped it; wait at most WAIT_SECONDS."""
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        self._send(folder, result, "KILLED" if killed else "FAILED")
        self._wait(folder)

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """Where the run is in MLflow."""
        return {"mlflow": location(folder) or "not logged"}

    @hookimpl
    def study_finished(self, folder: Path, results: Sequence[RunResult]) -> dict[str, str]:
        """Save the views of the study; where each is."""
        try:
            if self.gone:
                raise NoAnswer("the server did not answer.")
            return show(folder.resolve().name, results)
        except Exception as error:
            return {
                "mlflow": f"no views: {reason(error)} `rilbench upload {shlex.quote(str(folder))}` makes them later"
            }

    @hookimpl
    def find_runs(self, source: str) -> list[RunResult] | None:
        """The runs at an address of MLflow."""
        return find(source)

    @hookimpl
    def commands(self) -> dict[str, Callable[..., None]]:
        """`rilbench upload` and `rilbench ui`."""
        return {"upload": commands.upload, "ui": commands.ui}

    def _send(self, folder: Path, result: RunResult, status: str) -> None:
        if not self.gone and not complete(folder):
            self.worker.put(partial(send, folder, result, status))

    def _wait(self, folder: Path) -> None:
        if self.worker.finish(WAIT_SECONDS):
            self._warn_of_failure(folder)
        else:
            self._warn(folder, f"not done after {WAIT_SECONDS} s.")
            self.gone = True

    def _warn_of_failure(self, folder: Path) -> None:
        failure = self.worker.failure
        if failure is not None and not self.gone:
            self._warn(folder, reason(failure))
            self.gone = isinstance(failure, NoAnswer)

    def _warn(self, folder: Path, why: str) -> None:
        """Once a run, and from the hooks only: they are called when no progress display is on the screen."""
        if self.warned:
            return
        self.warned = True
        Terminal(stderr=True).print(
            f"[yellow]warning:[/yellow] the run could not be sent to MLflow at {escape(public(tracking_uri()))}: "
            f"{escape(why)} The results are safe in {escape(str(folder))}; "
            f"`rilbench upload {escape(shlex.quote(str(folder)))}` sends them later.",
            soft_wrap=True,
            highlight=False,
        )
