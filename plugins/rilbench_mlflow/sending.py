"""Sends what is not sent yet. Everything comes from the run's folder, so sending can be stopped and repeated: MLflow
drops a parameter and a point that it has, and files and pictures have the same names again."""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from rilbench.contracts import untrusted
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench_mlflow import connection, labels, pictures
from rilbench_mlflow.address import experiment, public, tracking_uri
from rilbench_mlflow.pictures import Picture
from rilbench_mlflow.points import Point, final_points, stage_points
from rilbench_mlflow.state import State, here, load, save

LOCK_SECONDS = 60


def send(folder: Path, result: RunResult, status: str) -> None:
    """Send the rows of `result` that are missing, and the run's status: RUNNING, FINISHED, FAILED or KILLED."""
    with FileLock(folder / ".mlflow.lock", timeout=LOCK_SECONDS):
        uri = tracking_uri()
        with connection.connected(uri) as client:
            state = load(folder)
            if not here(state) or (state.run_id and connection.run(client, state.run_id) is None):
                state = State()
            if not state.run_id:
                state = _start(client, uri, folder, result, state)
            Sending(client, folder, result, state).all(status)


@dataclass
class Sending:
    """What is going on with one run; the state on disk follows each step."""

    client: Any
    folder: Path
    result: RunResult
    state: State

    def all(self, status: str) -> None:
        """Missing stages, then the status. A finished run stays finished."""
        if not self.state.status:
            self._begin()
        for stage in range(self.state.stages, len(self.result.matrix.rows)):
            self._points(stage_points(self.folder.parent, self.result, stage))
            self._pictures(pictures.of_stage(self.folder, self.result, stage))
            self._keep(stages=stage + 1)
        if self.state.status in ("FINISHED", status):
            return
        if status == "RUNNING":
            self.client.update_run(self.state.run_id, status)
        else:
            self._end(status)
        self._keep(status=status)

    def _begin(self) -> None:
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in labels.params(self.folder, self.result).items()]
        self.client.log_batch(self.state.run_id, params=params)
        self._files(labels.AT_START)
        self.client.update_run(self.state.run_id, "RUNNING")
        self._keep(status="RUNNING")

    def _end(self, status: str) -> None:
        if status == "FINISHED":
            self._points(final_points(self.folder.parent, self.result))
            self._pictures(pictures.of_end(self.folder, self.result))
        for key, value in labels.description(self.folder).items():
            self.client.set_tag(self.state.run_id, key, value)
        self._files(labels.AT_END)
        self.client.set_terminated(self.state.run_id, status)

    def _points(self, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        self.client.log_batch(self.state.run_id, metrics=metrics)

    def _pictures(self, found: list[Picture]) -> None:
        if not found:
            return
        with tempfile.TemporaryDirectory() as folder:
            for picture in found:
                pictures.write(picture, Path(folder))
            self.client.log_artifacts(self.state.run_id, folder, "images")
        self.client.set_tag(self.state.run_id, pictures.LOGGED, "true")

    def _files(self, names: tuple[str, ...]) -> None:
        for path in (self.folder / name for name in names):
            if path.exists() and untrusted.inside(self.folder.resolve().parent, path.absolute()) is None:
                raise RilbenchError(f"{path} is a link out of the store, and is not sent. Put the file itself there")
            if path.exists():
                self.client.log_artifact(self.state.run_id, str(path))

    def _keep(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        save(self.folder, self.state)


def _start(client: Any, uri: str, folder: Path, result: RunResult, state: State) -> State:
    """The run of a folder: the one that was made when the sending was killed, or a new one.

    Its key is on disk before it is made, so that a kill in between does not leave a second run.
    """
    experiment_id = connection.experiment(client, uri)
    if not state.key:
        state = State(uri=public(uri), experiment=experiment(), key=uuid.uuid4().hex, name=result.name)
        save(folder, state)
    run = connection.run_of(client, experiment_id, state.key) or client.create_run(
        experiment_id, run_name=result.name, tags=labels.tags(folder, result) | {labels.KEY: state.key}
    )
    state = replace(state, experiment_id=experiment_id, run_id=run.info.run_id)
    save(folder, state)
    return state
