"""Synchronizes MLflow with a store: after every stage, and after kills, full disks and unreachable servers.

Everything is read from the store, so sending can be stopped and repeated: MLflow drops parameters and points that it
already has, and files and images keep their names. A tag of the run counts the rows that were sent.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rilbench.contracts import untrusted
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public
from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result
from rilbench_mlflow import connection, labels, pictures
from rilbench_mlflow.address import experiment, tracking_uri
from rilbench_mlflow.pictures import Picture
from rilbench_mlflow.points import Point, final_points, stage_points
from rilbench_mlflow.state import State, absent, load, save

ROWS = "rilbench.rows"  # the tag with the number of sent rows; missing until the settings are sent
ENDED = {"finished": "FINISHED", "failed": "FAILED", "running": "KILLED"}  # of runs without a process
Warn = Callable[[str], None]


def send(folder: Path, result: RunResult, status: str) -> None:
    """Send the missing parts of a run and its status: RUNNING, FINISHED, FAILED or KILLED. The caller has the lock."""
    uri = tracking_uri()
    with connection.connected(uri) as client:
        state, run = _opened(client, uri, folder, result)
        reached = Sending(client, folder, result, run).all(status)
        save(folder, replace(state, status=reached))


def reconcile(store: Path, warn: Warn, *, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """Update the runs of a store in MLflow; returns the names of those that were out of date.

    Covers runs that were sent to the current address before, even partly, and finished runs with `tracking` that were
    never sent. Runs that another process is sending are skipped; runs that cannot be sent give a warning.
    """
    results = {}
    for folder, result in results_of(store).items():
        with _skipping(folder, warn):
            if _is_concerned(folder, result):
                results[folder] = result
    if not results:
        return []
    with connection.connected(tracking_uri()) as client:
        there = connection.runs_of(client, tracking_uri())
    done = []
    for folder, result in results.items():
        if stopped():
            break
        with _skipping(folder, warn):
            if not _is_right(load(folder), there, result) and send_ended(folder, result):
                done.append(folder.name)
    return done


@contextmanager
def _skipping(folder: Path, warn: Warn) -> Iterator[None]:
    """A failing run does not stop the others; a server that does not answer does."""
    try:
        yield
    except connection.NoAnswer:
        raise
    except Exception as error:
        warn(f"{folder} was not sent to MLflow: {connection.reason(error)}")


def send_ended(folder: Path, result: RunResult) -> bool:
    """Send the missing parts of a run, unless a process is working on it; a run that did not end was killed."""
    with absent(folder) as nobody:
        if nobody:
            send(folder, result, ENDED.get(result.status, "FAILED"))
        return nobody


def results_of(store: Path) -> dict[Path, RunResult]:
    """The readable results of a store, by run folder."""
    found = {}
    for file in sorted(store.glob(f"*/{RunFiles.RESULT}")):
        with suppress(RilbenchError):
            found[file.parent] = load_result(file.parent)
    return found


def _is_concerned(folder: Path, result: RunResult) -> bool:
    state = load(folder)
    if state != State():
        return state.here
    return result.status == "finished" and bool(labels.settings(folder).get("tracking"))


def _is_right(state: State, there: Mapping[str, Any], result: RunResult) -> bool:
    run = there.get(state.key)
    if run is None or run.info.status != state.status:
        return False
    ended = ("FINISHED",) if result.status == "finished" else ("FAILED", "KILLED")
    return state.status in ended and run.data.tags.get(ROWS) == str(len(result.matrix.rows))


def _opened(client: Any, uri: str, folder: Path, result: RunResult) -> tuple[State, Any]:
    """The MLflow run of a folder, created if missing.

    Its key is saved before the run is created, so that a kill in between does not lead to a second run.
    """
    experiment_id, state = connection.experiment_id(client, uri), load(folder)
    if not state.here:
        state = State(uri=public(uri), experiment=experiment(), key=uuid.uuid4().hex)
        save(folder, state)
    run = connection.run_of(client, experiment_id, state.key) or client.create_run(
        experiment_id, run_name=result.name, tags=labels.tags(folder, result) | {connection.KEY: state.key}
    )
    state = replace(state, experiment_id=experiment_id, run_id=run.info.run_id, status="")
    save(folder, state)
    return state, run


@dataclass(frozen=True)
class Sending:
    """Sends the contents of one run to MLflow."""

    client: Any
    folder: Path
    result: RunResult
    run: Any

    def all(self, status: str) -> str:
        """Send missing rows, then the status; returns the run's status. A finished run stays finished."""
        sent, now = self.run.data.tags.get(ROWS), self.run.info.status
        if sent is None:
            self._begin()
        for stage in range(int(sent or 0), len(self.result.matrix.rows)):
            self._points(stage_points(self.folder.parent, self.result, stage))
            self._pictures(pictures.of_stage(self.folder, self.result, stage))
            self._tag(ROWS, str(stage + 1))
        if now in ("FINISHED", status):
            return str(now)
        if status == "RUNNING":
            self.client.update_run(self.run.info.run_id, status)
        else:
            self._end(status)
        return status

    def _begin(self) -> None:
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in labels.params(self.folder, self.result).items()]
        self.client.log_batch(self.run.info.run_id, params=params)
        self._files(labels.AT_START)
        self._tag(ROWS, "0")

    def _end(self, status: str) -> None:
        if status == "FINISHED":
            self._points(final_points(self.folder.parent, self.result))
            self._pictures(pictures.of_end(self.folder, self.result))
        for key, value in labels.description(self.folder).items():
            self._tag(key, value)
        self._files(labels.AT_END)
        self.client.set_terminated(self.run.info.run_id, status)

    def _tag(self, key: str, value: str) -> None:
        self.client.set_tag(self.run.info.run_id, key, value)

    def _points(self, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        self.client.log_batch(self.run.info.run_id, metrics=metrics)

    def _pictures(self, found: list[Picture]) -> None:
        if not found:
            return
        with tempfile.TemporaryDirectory() as folder:
            for picture in found:
                pictures.write(picture, Path(folder))
            self.client.log_artifacts(self.run.info.run_id, folder, "images")
        self._tag(pictures.LOGGED, "true")

    def _files(self, names: tuple[str, ...]) -> None:
        for path in (self.folder / name for name in names):
            if path.exists() and untrusted.inside(self.folder.resolve().parent, path.absolute()) is None:
                raise RilbenchError(f"{path} is a link out of the store and is not sent. Replace it by the file")
            if path.exists():
                self.client.log_artifact(self.run.info.run_id, str(path))
