"""Sends runs that could not be sent before, and updates MLflow from the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rilbench.contracts import untrusted
from rilbench.contracts.errors import RilbenchError, UsageError
from rilbench.contracts.redact import public
from rilbench.engine.progress import OnBatch
from rilbench.store.files import read_json
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result
from rilbench_mlflow.address import tracking_uri
from rilbench_mlflow.connection import reason
from rilbench_mlflow.sending import send_ended
from rilbench_mlflow.state import location
from rilbench_mlflow.study import show


def sync(folder: Path) -> str:
    """Send a run's folder to `tracking_uri()`; returns one line saying where the run is. Nothing is sent twice.

    A run that is on another server, or was deleted from this one, becomes a new run. A run that neither finished nor
    failed was killed, unless a process is working on it, which sends it. Raises RilbenchError when the server cannot be
    reached or refuses.
    """
    result = load_result(folder)
    try:
        sent = send_ended(folder, result)
    except Exception as error:
        raise RilbenchError(
            f"cannot send {folder} to {public(tracking_uri())}: {reason(error)} "
            "The results are safe; check MLFLOW_TRACKING_URI and repeat the command"
        ) from None
    return location(folder) or "" if sent else f"{folder.name} is still running; its process sends it"


def sync_study(folders: Sequence[Path], advance: OnBatch | None = None) -> dict[str, str]:
    """`sync` every run in some folders, then save the views of the finished ones; lines to print, name to text.

    A folder is a run or contains runs. The study is named after the folder, or the common parent of several folders.
    """
    found = [run for folder in folders for run in runs_in(folder)]
    for number, folder in enumerate(found, 1):
        sync(folder)
        if advance:
            advance(number, len(found))
    study = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    results = [result for result in map(load_result, found) if result.status == "finished"]
    try:
        lines = show(study, results) if results else {}
    except Exception as error:
        raise RilbenchError(f"cannot save the views of {study.name}: {reason(error)}") from None
    return {"mlflow": f"{len(found)} runs of the study {study.name} are in {public(tracking_uri())}"} | lines


def runs_in(folder: Path) -> list[Path]:
    """The folders of the runs in a study or store, or of the run itself; raises UsageError when there is none."""
    if RunFiles(folder).is_study:  # its runs are next to it
        file = RunFiles(folder).study
        runs = read_json(file, like={"finished": list})["finished"]
        return [folder.resolve().parent / untrusted.name(run, str(file)) for run in runs]
    found = [path.parent for level in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{level}{RunFiles.RESULT}"))]
    if not found:
        raise UsageError(f"{folder} is not a run and contains none: there is no {RunFiles.RESULT}")
    return found
