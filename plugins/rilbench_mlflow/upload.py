"""Sends what is not sent yet. Everything comes from the run's folder, so sending can be stopped and repeated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from rilbench import received
from rilbench.errors import RilbenchError, UsageError
from rilbench.result import RunResult
from rilbench.store import read_json
from rilbench_mlflow import connection, labels, pictures
from rilbench_mlflow.address import experiment_name, public, tracking_uri
from rilbench_mlflow.pictures import Picture
from rilbench_mlflow.points import Point, final_points, stage_points
from rilbench_mlflow.reasons import reason
from rilbench_mlflow.state import State, load, location, save
from rilbench_mlflow.study import show

BATCH = 1000  # MLflow's limit
LOCK_SECONDS = 60
ENDED = {"finished": "FINISHED", "failed": "FAILED", "running": "KILLED"}


def sync(folder: Path) -> str:
    """Send a run's folder to `tracking_uri()`; returns one line saying where the run is. Nothing is sent twice.

    A run that another server has, or that was deleted from this one, becomes a new run. One that neither finished
    nor failed was killed; should it still be under way, it says so with its next stage. RilbenchError when the server
    cannot be reached or refuses.
    """
    result = RunResult.load(folder)
    try:
        send(folder, result, ENDED.get(result.status, "FAILED"))
    except Exception as error:
        raise RilbenchError(
            f"cannot send {folder} to {public(tracking_uri())}: {reason(error)} "
            "The results are safe; check MLFLOW_TRACKING_URI and repeat."
        ) from None
    return location(folder) or ""


def sync_study(folders: Sequence[Path]) -> dict[str, str]:
    """`sync` every run in some folders, then save the views of the finished ones; lines to print, name to text.

    A folder is a run's, or holds runs. The study is called as the folder, or as the one that several lie in.
    """
    found = [run for folder in folders for run in runs_in(folder)]
    for folder in found:
        sync(folder)
    name = Path(os.path.commonpath([folder.resolve() for folder in folders])).name
    results = [result for result in map(RunResult.load, found) if result.status == "finished"]
    try:
        lines = show(name, results) if results else {}
    except Exception as error:
        raise RilbenchError(f"cannot save the views of {name}: {reason(error)}") from None
    return {"mlflow": f"{len(found)} runs of the study {name} are in {public(tracking_uri())}"} | lines


def runs_in(folder: Path) -> list[Path]:
    """The folders of the runs in a study or store, or the run's own; UsageError when there is none."""
    if (folder / "study.json").exists():  # its runs lie beside it
        file = folder / "study.json"
        runs = read_json(file, like={"finished": list})["finished"]
        return [folder.resolve().parent / received.name(run, str(file)) for run in runs]
    found = [path.parent for level in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{level}result.json"))]
    if not found:
        raise UsageError(f"{folder} is no run and holds none: there is no result.json")
    return found


def send(folder: Path, result: RunResult, status: str) -> None:
    """Send the rows of `result` that are missing, and the run's status: RUNNING, FINISHED, FAILED or KILLED."""
    with FileLock(folder / ".mlflow.lock", timeout=LOCK_SECONDS):
        uri = tracking_uri()
        with connection.connected(uri) as client:
            state = load(folder)
            if state.uri != public(uri) or not connection.alive(client, state.run_id):
                state = _start(client, uri, folder, result)
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
            self._stage(stage)
        if status == self.state.status or self.state.status == "FINISHED":
            return
        if status == "RUNNING":
            self.client.update_run(self.state.run_id, status)
        else:
            self._end(status)
        self._keep(status=status)

    def _begin(self) -> None:
        for key, value in labels.params(self.result).items():
            self.client.log_param(self.state.run_id, key, value)
        self._files(labels.AT_START)
        self._keep(status="RUNNING")

    def _stage(self, stage: int) -> None:
        store = self.folder.parent
        self._points(stage_points(store, self.result, stage))
        self._pictures(pictures.of_stage(self.folder, self.result, stage))
        self._keep(stages=stage + 1)

    def _end(self, status: str) -> None:
        if status == "FINISHED":
            self._points(final_points(self.folder.parent, self.result))
            self._pictures(pictures.of_end(self.folder, self.result))
        for key, value in labels.description(self.folder).items():
            self.client.set_tag(self.state.run_id, key, value)
        self._files(labels.AT_END)
        self.client.set_terminated(self.state.run_id, status)

    def _points(self, points: list[Point]) -> None:
        for start in range(0, len(points), BATCH):
            self.client.log_batch(self.state.run_id, metrics=connection.metrics(points[start : start + BATCH]))

    def _pictures(self, found: list[Picture]) -> None:
        for picture in found:
            image = pictures.opened(picture.file)
            self.client.log_image(self.state.run_id, image, key=picture.key, step=picture.step)

    def _files(self, names: tuple[str, ...]) -> None:
        for path in (self.folder / name for name in names):
            if path.exists() and received.inside(self.folder.resolve().parent, path.absolute()) is None:
                raise RilbenchError(f"{path} is a link out of the store, and is not sent. Put the file itself there")
            if path.exists():
                self.client.log_artifact(self.state.run_id, str(path))

    def _keep(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        save(self.folder, self.state)


def _start(client: Any, uri: str, folder: Path, result: RunResult) -> State:
    """A new run; it is written down at once, so trouble on the way does not make a second one."""
    experiment_id = connection.experiment(client, uri, experiment_name())
    run = client.create_run(experiment_id, run_name=result.name, tags=labels.tags(folder, result))
    state = State(uri=public(uri), experiment_id=experiment_id, run_id=run.info.run_id, name=result.name)
    save(folder, state)
    return state
