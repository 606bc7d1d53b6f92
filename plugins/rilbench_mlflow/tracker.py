"""The hook plugin. Problems with the server never affect training; the upload can be repeated later."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock

from rilbench import hookimpl
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public
from rilbench.contracts.result import RunResult
from rilbench.engine.progress import Reporter
from rilbench_mlflow.address import tracking_uri
from rilbench_mlflow.connection import NoAnswer, reason
from rilbench_mlflow.sending import reconcile, send
from rilbench_mlflow.state import complete, hold, location
from rilbench_mlflow.study import lines, refresh, show
from rilbench_mlflow.worker import Job, Worker

WAIT_SECONDS = 20
OTHERS_SECONDS = 8  # of these, for other runs of the store


class MlflowTracker:
    """Sends each run in the background while it trains, and saves the views of a study at its end.

    If the server does not answer, there is one warning and no further attempt in this process.
    """

    def __init__(self) -> None:
        self.worker = Worker()
        self.held: FileLock | None = None  # of the current run
        self.warned = False  # about this run
        self.gone: NoAnswer | None = None  # why the server is not contacted any more
        self.agreed: set[Path] = set()  # the stores that MLflow is in sync with
        self.skipped: list[str] = []  # warnings about other runs, printed at the end of this one

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Update the other runs of the store in MLflow."""
        self.worker, self.warned, self.skipped = Worker(), False, []
        self.held = hold(folder)
        self._put(folder, partial(self._others, folder.parent, self.worker.is_wanted))

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult) -> None:
        """Send a row and its stage's training curves and images; the first row creates the MLflow run."""
        self._warn_of_failure(folder)
        self._put(folder, partial(self._send, folder, result, "RUNNING"))

    @hookimpl
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """Send the summary; wait for it at most WAIT_SECONDS."""
        self._end(folder, result, "FINISHED")

    @hookimpl
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """Close the MLflow run as FAILED, or as KILLED when it was interrupted; wait at most WAIT_SECONDS.

        A finished run stays finished if its repetition is interrupted.
        """
        stopped = "KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED"
        self._end(folder, result, "FINISHED" if result.status == "finished" else stopped)

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """Where the run is in MLflow, and the views of its store."""
        return {"mlflow": location(folder) or "not logged"} | lines(folder)

    @hookimpl
    def study_finished(self, folder: Path, results: Sequence[RunResult]) -> dict[str, str]:
        """Send the runs of a killed study that are missing, and save the views of the study; the address of each."""
        try:
            if self.gone:
                raise NoAnswer("the server did not answer.")
            reconcile(folder.parent, Reporter().warn)
            return show(folder, results)
        except Exception as error:
            later = f"`rilbench upload {shlex.quote(str(folder))}` saves them later"
            return {"mlflow": f"no views: {reason(error)} {later}"}

    @hookimpl
    def find_runs(self, source: str) -> list[RunResult] | None:
        """The runs at an address of MLflow."""
        from rilbench_mlflow.fetch import find

        return find(source)

    def _put(self, folder: Path, job: Job) -> None:
        if not self.gone and not complete(folder):
            self.worker.put(job)

    def _send(self, folder: Path, result: RunResult, status: str) -> None:
        """Send the run. If another process is sending it, such as `rilbench upload`, wait only at the end."""
        if self.gone:
            raise self.gone
        last = status != "RUNNING"
        if self.held is None or not self.held.is_locked:
            self.held = hold(folder, WAIT_SECONDS / 2 if last else 0)
        if self.held.is_locked:
            try:
                send(folder, result, status)
            except NoAnswer as error:
                self.gone = error
                raise
        elif last:
            raise RilbenchError(f"another process is sending it, or {folder} cannot be written.")

    def _others(self, store: Path, stopped: Callable[[], bool]) -> None:
        """Update other runs, once per store; their errors do not affect this run."""
        if store not in self.agreed:
            with suppress(Exception):
                reconcile(store, self.skipped.append, stopped=stopped)
                if not stopped():
                    self.agreed.add(store)

    def _end(self, folder: Path, result: RunResult, status: str) -> None:
        self._put(folder, partial(self._last, folder, result, status))
        if self.worker.finish(WAIT_SECONDS):
            self._warn_of_failure(folder)
            for warning in dict.fromkeys(self.skipped):
                Reporter().warn(warning)
            if self.held is not None:
                self.held.release()
        elif not complete(folder):
            self.gone = NoAnswer(f"not done after {WAIT_SECONDS} s.")
            self._warn(folder, reason(self.gone))

    def _last(self, folder: Path, result: RunResult, status: str) -> None:
        self._send(folder, result, status)
        end = time.monotonic() + OTHERS_SECONDS
        self._others(folder.parent, lambda: time.monotonic() > end)
        if status == "FINISHED":
            with suppress(Exception):
                refresh(folder.parent)

    def _warn_of_failure(self, folder: Path) -> None:
        if self.worker.failure is not None:
            self._warn(folder, reason(self.worker.failure))

    def _warn(self, folder: Path, why: str) -> None:
        """Warn once per run, and only from the hooks: no progress display is on the screen then."""
        if self.warned:
            return
        self.warned = True
        Reporter().warn(
            f"the run could not be sent to MLflow at {public(tracking_uri())}: {why} The results are safe in {folder}; "
            f"`rilbench upload {shlex.quote(str(folder))}` sends them later."
        )
