"""The views of a store: all its finished runs, kept up to date by every run that ends."""

from __future__ import annotations

from pathlib import Path

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result
from rilbench_mlflow import connection
from rilbench_mlflow.address import tracking_uri
from rilbench_mlflow.labels import FOLDER
from rilbench_mlflow.reasons import reason
from rilbench_mlflow.reconcile import reconcile
from rilbench_mlflow.state import here, load
from rilbench_mlflow.study import links, show
from rilbench_mlflow.ui import DEFAULT


def refresh(store: Path) -> dict[str, str]:
    """Save the views of a store's finished runs; name to address of each. Nothing when none was sent."""
    results = finished(store)
    if not results:
        return {}
    made = show(store, results)
    return {name: text for name, text in made.items() if name != "mlflow"}


def lines(folder: Path) -> dict[str, str]:
    """Name to address of the views that a run is in; nothing when they were not saved."""
    state = load(folder)
    return links(folder.parent, state.experiment_id) if state.status == "FINISHED" and here(state) else {}


def finished(store: Path) -> list[RunResult]:
    """The finished runs of a store that were sent to today's address; damaged ones are left out."""
    found = []
    for file in sorted(store.glob(f"*/{RunFiles.RESULT}")):
        try:
            result = load_result(file.parent)
            if result.status == "finished" and load(file.parent).run_id:
                found.append(result)
        except RilbenchError:
            continue
    return found


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
        lines["mlflow"] = f"not up to date: {reason(error)}"
    here, served = f"http://127.0.0.1:{port}", " (rilbench ui serves it)"
    return {name: text.replace(DEFAULT, here).removesuffix(served) for name, text in lines.items()}


def _stores() -> list[Path]:
    """The store of this folder, and those that the runs of the experiment were sent from."""
    uri = tracking_uri()
    with connection.connected(uri) as client:
        runs = connection.pages(client, connection.experiment(client, uri), "")
    tags = [run.data.tags[FOLDER] for run in runs if FOLDER in run.data.tags]
    found = {Path(tag).parent for tag in tags} | {Path("runs").resolve()}
    return sorted(store for store in found if store.is_dir())
