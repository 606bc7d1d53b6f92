"""The hook plugin. A server that is down, slow or wrong costs nothing but the upload, which can be repeated."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from rilbench import hookimpl
from rilbench.result import RunResult
from rilbench_mlflow import commands
from rilbench_mlflow.address import public, tracking_uri
from rilbench_mlflow.state import complete, location
from rilbench_mlflow.upload import reason, send
from rilbench_mlflow.worker import Worker

WAIT_SECONDS = 20


class MlflowTracker:
    """Sends one run in the background while it trains."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.warned = False

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Make the MLflow run, or take up the one that exists."""
        self._send(folder, result, "RUNNING")

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult) -> None:
        """Send a row and its stage's training curves."""
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
    def commands(self) -> dict[str, Callable[..., None]]:
        """`rilbench upload` and `rilbench ui`."""
        return {"upload": commands.upload, "ui": commands.ui}

    def _send(self, folder: Path, result: RunResult, status: str) -> None:
        if not complete(folder):
            self.worker.put(partial(send, folder, result, status))

    def _wait(self, folder: Path) -> None:
        if self.worker.finish(WAIT_SECONDS):
            self._warn_of_failure(folder)
        else:
            self._warn(folder, f"not done after {WAIT_SECONDS} s.")

    def _warn_of_failure(self, folder: Path) -> None:
        if self.worker.failure is not None:
            self._warn(folder, reason(self.worker.failure))

    def _warn(self, folder: Path, why: str) -> None:
        """Once a run, and from the hooks only: they are called when no progress display is on the screen."""
        if self.warned:
            return
        self.warned = True
        Console(stderr=True).print(
            f"[yellow]warning:[/yellow] the run could not be sent to MLflow at {escape(public(tracking_uri()))}: "
            f"{escape(why)} The results are safe in {escape(str(folder))}; "
            f"`rilbench upload {escape(shlex.quote(str(folder)))}` sends them later.",
            soft_wrap=True,
            highlight=False,
        )
