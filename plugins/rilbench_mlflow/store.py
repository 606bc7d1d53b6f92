"""The views of a store: all its finished runs, kept up to date by every run that ends."""

from __future__ import annotations

from pathlib import Path

from rilbench.errors import RilbenchError
from rilbench.result import RunResult
from rilbench_mlflow.state import here, load
from rilbench_mlflow.study import links, show


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
    for file in sorted(store.glob("*/result.json")):
        try:
            result = RunResult.load(file.parent)
            if result.status == "finished" and load(file.parent).run_id:
                found.append(result)
        except RilbenchError:
            continue
    return found
