"""Creates quiet MLflow clients that give up within seconds."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public, redacted
from rilbench.store.files import replacing
from rilbench_mlflow.address import database, experiment, is_http, sqlite

PROBE_SECONDS = 3
LOCK_SECONDS = 60
MOST_RUNS = 50_000  # of one search; MLflow's limit
KEY = "rilbench.key"  # the tag that links a run to its folder
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI asks what the experiment is for
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


class NoAnswer(RilbenchError):
    """There is no server at an address, or it does not answer within seconds."""


@contextmanager
def connected(uri: str) -> Iterator[Any]:
    """An MlflowClient for a server that answers, or for a SQLite file, which is created if missing.

    Raises NoAnswer when there is no server. A SQLite file is locked meanwhile: processes that create the same file at
    the same time destroy it, and concurrent writers fail.
    """
    if is_http(uri):
        answer(uri, "health")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # logs every retry
    client = import_module("mlflow.tracking").MlflowClient
    file = database(uri)
    if file is None:
        yield client(tracking_uri=uri)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    import_module("mlflow.store.tracking.sqlalchemy_store")  # takes seconds: not while others wait for the lock
    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
        ensure(file)
        yield client(tracking_uri=uri)


def answer(uri: str, page: str) -> str:
    """The beginning of a server's page, empty if the server refuses it; raises NoAnswer if nothing answers."""
    try:
        with urllib.request.urlopen(f"{public(uri).rstrip('/')}/{page}", timeout=PROBE_SECONDS) as read:
            return str(read.read(100).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", error)
        if not isinstance(cause, ssl.SSLError):  # MLflow has its own settings of certificates
            raise NoAnswer(f"no answer within {PROBE_SECONDS} s: {cause}") from None
    return ""


def ensure(file: Path) -> None:
    """Create a SQLite database atomically; the caller holds the file's lock.

    MLflow creates its tables in 60 migrations, which takes seconds. If it is killed or the disk is full meanwhile, it
    leaves a file that it cannot open again; so the database is created in a temporary folder.
    """
    if file.exists() and file.stat().st_size:
        return
    with tempfile.TemporaryDirectory() as folder, replacing(file) as part:
        fresh = Path(folder) / "mlflow.db"
        migrate(fresh, _artifacts(file))
        shutil.copy(fresh, part)


def migrate(file: Path, artifacts: str) -> None:
    """Let MLflow create its tables in a new file."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(sqlite(file), artifacts).engine.dispose()


def named(client: Any, experiment: str) -> Any | None:
    """An experiment by its name or by `#` and its id."""
    if experiment.startswith("#"):
        return client.get_experiment(experiment[1:])
    return client.get_experiment_by_name(experiment)


def experiment_id(client: Any, uri: str) -> str:
    """The id of the experiment to use, created if missing. Artifacts of a SQLite file are next to it in `mlartifacts`.
    Raises RilbenchError when the experiment is deleted, or when the id does not exist."""
    from mlflow.exceptions import MlflowException

    name, file = experiment(), database(uri)
    found = named(client, name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifacts(file) if file else None, tags=KIND))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        restore = f"MLFLOW_TRACKING_URI={public(uri)} mlflow experiments restore --experiment-id {found.experiment_id}"
        raise RilbenchError(
            f"the experiment {found.name!r} is deleted. `{restore}` restores it, or set MLFLOW_EXPERIMENT_NAME to "
            "another name."
        )
    return str(found.experiment_id)


def run_of(client: Any, experiment_id: str, key: str) -> Any | None:
    """The run tagged with a key; None when there is none, or it is deleted."""
    return next(iter(client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)), None)


def runs_of(client: Any, uri: str) -> dict[str, Any]:
    """The runs of the experiment to use, by key."""
    found = client.search_runs([experiment_id(client, uri)], max_results=MOST_RUNS)
    return {run.data.tags[KEY]: run for run in found if KEY in run.data.tags}


def reason(error: Exception) -> str:
    """The first line of an error as a sentence; MLflow's errors have many lines."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    text = redacted(text if isinstance(error, RilbenchError) else text[:300])
    return text if text.endswith(".") else f"{text}."


def _artifacts(file: Path) -> str:
    return (file.parent / "mlartifacts").as_uri()
