"""Makes MLflow agree with a store, which is the truth: after kills, full disks and servers that were away. The views of
a store show all its finished runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rilbench.analysis.recorded import settings
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result
from rilbench_mlflow import connection
from rilbench_mlflow.address import HOST, PORT, tracking_uri
from rilbench_mlflow.labels import FOLDER
from rilbench_mlflow.sending import send
from rilbench_mlflow.state import State, absent, here, load, save
from rilbench_mlflow.study import links, show

ENDED = {"finished": "FINISHED", "failed": "FAILED", "running": "KILLED"}


def reconcile(store: Path, *, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """Put right what MLflow has of a store's runs; the names of the runs that were wrong.

    Runs are those that were sent to today's address before, if only in part, and finished ones with `tracking` that
    were sent to none. Runs on which a process is at work are left to it, damaged ones to `rilbench run`.
    """
    folders = [file.parent for file in sorted(store.glob(f"*/{RunFiles.SETTINGS}")) if _concerned(file.parent)]
    if not folders:
        return []
    with connection.connected(tracking_uri()) as client:
        wrong = [folder for folder in folders if not _right(client, folder)]
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
        run = _run_of(client, state) if here(state) else None
        if run is not None and result is None:
            client.set_terminated(run.info.run_id, "KILLED")
            save(folder, replace(state, status=state.status and "KILLED"))
        elif run is not None and run.info.status != state.status:  # a kill came between the two, or MLflow is a copy
            save(folder, replace(state, status=state.status and "RUNNING", stages=0))
    if result is not None:
        send(folder, result, ENDED.get(result.status, "FAILED"))


def refresh(store: Path) -> dict[str, str]:
    """Save the views of a store's finished runs; name to address of each. Nothing when none was sent."""
    found = [result for file in sorted(store.glob(f"*/{RunFiles.RESULT}")) if (result := _result(file.parent))]
    sent = [run for run in found if run.status == "finished" and run.folder and load(run.folder).run_id]
    return {name: text for name, text in show(store, sent).items() if name != "mlflow"} if sent else {}


def lines(folder: Path) -> dict[str, str]:
    """Name to address of the views that a run is in; nothing when they were not saved."""
    state = load(folder)
    return links(folder.parent, state.experiment_id) if state.status == "FINISHED" and here(state) else {}


def brought_up_to_date(port: int) -> dict[str, str]:
    """What `rilbench ui` does before it starts: MLflow is made to agree with the stores it has runs of, and their
    views are saved. Name to address of each; what cannot be done is one line."""
    lines: dict[str, str] = {}
    try:
        for store in _stores():
            reconcile(store)
            many = f" of {store}" if lines else ""
            lines |= {f"{name}{many}": text for name, text in refresh(store).items()}
    except Exception as error:
        lines["mlflow"] = f"not up to date: {connection.reason(error)}"
    default, here = f"http://{HOST}:{PORT}/", f"http://{HOST}:{port}/"
    return {n: text.replace(default, here).removesuffix(" (rilbench ui serves it)") for n, text in lines.items()}


def _stores() -> list[Path]:
    """The store of this folder, and those that the runs of the experiment were sent from."""
    uri = tracking_uri()
    with connection.connected(uri) as client:
        runs = client.search_runs([connection.experiment(client, uri)], max_results=connection.MOST_RUNS)
    tags = [run.data.tags[FOLDER] for run in runs if FOLDER in run.data.tags]
    found = {Path(tag).parent for tag in tags} | {Path("runs").resolve()}
    return sorted(store for store in found if store.is_dir())


def _concerned(folder: Path) -> bool:
    try:
        state = load(folder)
        if state != State():
            return here(state)
        result = _result(folder)
        return result is not None and result.status == "finished" and bool(settings(result).get("tracking"))
    except RilbenchError:
        return False


def _right(client: Any, folder: Path) -> bool:
    state, result = load(folder), _result(folder)
    run = _run_of(client, state)
    if result is not None and result.status == "finished":
        return run is not None and run.info.status == state.status == "FINISHED"
    if run is None:
        return True  # the run's next start makes it
    rows = len(result.matrix.rows) if result is not None else 0
    return run.info.status in ("FAILED", "KILLED") and state.stages >= rows


def _run_of(client: Any, state: State) -> Any | None:
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
