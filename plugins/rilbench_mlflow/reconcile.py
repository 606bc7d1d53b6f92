"""Makes MLflow agree with a store, which is the truth: after kills, full disks and servers that were away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result
from rilbench_mlflow import connection, labels
from rilbench_mlflow.address import tracking_uri
from rilbench_mlflow.alive import absent
from rilbench_mlflow.sending import send
from rilbench_mlflow.state import State, here, load, save

ENDED = {"finished": "FINISHED", "failed": "FAILED", "running": "KILLED"}


def reconcile(store: Path, *, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """Put right what MLflow has of a store's runs; the names of the runs that were wrong.

    Runs are those that were sent to today's address before, if only in part, and finished ones with `tracking` that
    were sent to none. Runs on which a process is at work are left to it, damaged ones to `rilbench run`.
    """
    folders = [file.parent for file in sorted(store.glob(f"*/{RunFiles.SETTINGS}")) if _concerned(file.parent)]
    wrong = _wrong(folders) if folders else []
    done = []
    for folder in wrong:
        if stopped():
            break
        with absent(folder) as nobody:
            if nobody:
                repair(folder)
                done.append(folder.name)
    return done


def repair(folder: Path) -> None:
    """Send what is missing of a run nobody is at work on; a run that did not end was killed."""
    state, result = load(folder), _result(folder)
    with connection.connected(tracking_uri()) as client:
        run = _of(client, state) if here(state) else None
        if run is not None and result is None:
            client.set_terminated(run.info.run_id, "KILLED")
            state = replace(state, status=state.status and "KILLED")
        elif run is not None and run.info.status != state.status:  # a kill came between the two, or MLflow is a copy
            state = replace(state, status=state.status and "RUNNING", stages=0, sending=True)
        if state != load(folder):
            save(folder, state)
    if result is not None:
        send(folder, result, ENDED.get(result.status, "FAILED"))


def _concerned(folder: Path) -> bool:
    try:
        state = load(folder)
        if state != State():
            return here(state)
        result = _result(folder)
        return result is not None and result.status == "finished" and bool(labels.settings(folder).get("tracking"))
    except RilbenchError:
        return False


def _wrong(folders: list[Path]) -> list[Path]:
    with connection.connected(tracking_uri()) as client:
        return [folder for folder in folders if not _right(client, folder)]


def _right(client: Any, folder: Path) -> bool:
    state, result = load(folder), _result(folder)
    run = _of(client, state)
    if result is not None and result.status == "finished":
        return run is not None and run.info.status == state.status == "FINISHED"
    if run is None:
        return True  # the run's next start makes it
    rows = len(result.matrix.rows) if result is not None else 0
    return run.info.status in ("FAILED", "KILLED") and state.stages >= rows


def _of(client: Any, state: State) -> Any | None:
    """MLflow's run of a folder, found by its key where the sending was killed before it had an id."""
    if state.run_id:
        return connection.run(client, state.run_id)
    return connection.run_of(client, connection.experiment(client, tracking_uri()), state.key) if state.key else None


def _result(folder: Path) -> RunResult | None:
    """None when there is no result yet, or a damaged one."""
    try:
        return load_result(folder)
    except RilbenchError:
        return None
