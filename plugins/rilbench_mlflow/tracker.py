"""The hook plugin. A server that is down, slow or wrong costs nothing but the upload, which can be repeated."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock
from rich.markup import escape

from rilbench import hookimpl
from rilbench.contracts.result import RunResult
from rilbench.engine.terminal import Terminal
from rilbench_mlflow.address import public, tracking_uri
from rilbench_mlflow.connection import NoAnswer, reason
from rilbench_mlflow.fetch import find
from rilbench_mlflow.sending import send
from rilbench_mlflow.state import complete, hold, location
from rilbench_mlflow.store import lines, reconcile, refresh
from rilbench_mlflow.study import show
from rilbench_mlflow.upload import sync
from rilbench_mlflow.worker import Worker

WAIT_SECONDS = 20
TIDY_SECONDS = 8  # of them for other runs of the store


class MlflowTracker:
    """Sends each run in the background while it trains, one run after another, and shows a study at its end.

    A server that does not answer is warned of once, and then left alone for the rest of the process.
    """

    def __init__(self) -> None:
        self.worker = Worker()
        self.held: FileLock | None = None  # the run at work on
        self.warned = False  # of this run
        self.gone = False
        self.tidy: set[Path] = set()  # the stores with which MLflow agrees

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Make the MLflow run, or take up the one that exists."""
        self.worker, self.warned = Worker(), False
        self._release()
        self.held = hold(folder)
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
        """Close the MLflow run as FAILED, or as KILLED when somebody stopped it; wait at most WAIT_SECONDS.

        A finished run whose repetition was stopped stays finished.
        """
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        stopped = "KILLED" if killed else "FAILED"
        self._send(folder, result, "FINISHED" if result.status == "finished" else stopped)
        self._wait(folder)

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """Where the run is in MLflow, and the views of its store."""
        return {"mlflow": location(folder) or "not logged"} | lines(folder)

    @hookimpl
    def study_finished(self, folder: Path, results: Sequence[RunResult]) -> dict[str, str]:
        """Send what a killed study did not, and save the views of the study; where each is."""
        try:
            if self.gone:
                raise NoAnswer("the server did not answer.")
            for result in results:
                if result.folder and not complete(result.folder):
                    sync(result.folder)
            self._tidy(folder.parent, lambda: False)
            return show(folder, results)
        except Exception as error:
            return {
                "mlflow": f"no views: {reason(error)} `rilbench upload {shlex.quote(str(folder))}` makes them later"
            }

    @hookimpl
    def find_runs(self, source: str) -> list[RunResult] | None:
        """The runs at an address of MLflow."""
        return find(source)

    def _send(self, folder: Path, result: RunResult, status: str) -> None:
        if not self.gone and not complete(folder):
            self.worker.put(partial(self._work, folder, result, status))

    def _work(self, folder: Path, result: RunResult, status: str) -> None:
        """Each job includes those before. What it does for other runs must not keep this one waiting."""
        send(folder, result, status)
        if status == "RUNNING":
            self._tidy(folder.parent, self.worker.is_wanted)
            return
        end = time.monotonic() + TIDY_SECONDS
        self._tidy(folder.parent, lambda: time.monotonic() > end)
        if status == "FINISHED":
            with suppress(Exception):
                refresh(folder.parent)

    def _tidy(self, store: Path, stopped: Callable[[], bool]) -> None:
        """Once a store, at the first opportunity; trouble with other runs is none of this one."""
        if store not in self.tidy:
            with suppress(Exception):
                reconcile(store, stopped=stopped)
                if not stopped():
                    self.tidy.add(store)

    def _wait(self, folder: Path) -> None:
        self._release()
        if self.worker.finish(WAIT_SECONDS):
            self._warn_of_failure(folder)
        elif not complete(folder):
            self._warn(folder, f"not done after {WAIT_SECONDS} s.")
            self.gone = True

    def _release(self) -> None:
        if self.held is not None:
            self.held.release()

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
