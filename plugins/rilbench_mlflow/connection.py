"""A quiet and impatient MLflow client. The only place that imports mlflow."""

from __future__ import annotations

import http.client
import logging
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from filelock import FileLock

from rilbench.contracts.errors import RilbenchError
from rilbench_mlflow import database as databases
from rilbench_mlflow.address import database, experiment_id, experiment_name, is_http, public

PROBE_SECONDS = 3
LOCK_SECONDS = 60
KEY = "rilbench.key"  # the tag that says which folder's a run is
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
    """An MlflowClient of a server that answers, or of a SQLite file, made if missing.

    NoAnswer when there is no server. A SQLite file is held under a lock for as long: processes that create the same
    one at once destroy it, and those that write at once find it locked.
    """
    if is_http(uri):
        _probe(uri)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    file = database(uri)
    if file is None:
        yield _client(uri)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    import_module("mlflow.store.tracking.sqlalchemy_store")  # takes seconds: not while others wait for the lock
    with FileLock(f"{file}.lock", timeout=LOCK_SECONDS):
        databases.ensure(file)
        yield _client(uri)


def experiment(client: Any, uri: str) -> str:
    """The id of the experiment that is asked for, made if missing. Artifacts of a SQLite file lie beside it in
    `mlartifacts`. RilbenchError when it is deleted, or when there is none of that id."""
    from mlflow.exceptions import MlflowException

    if number := experiment_id():
        return _active(client.get_experiment(number), uri)
    name = experiment_name()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return _active(found, uri)
    file = database(uri)
    artifacts = (file.parent / "mlartifacts").as_uri() if file else None
    try:
        return str(client.create_experiment(name, artifact_location=artifacts, tags=KIND))
    except MlflowException:  # another process was faster
        return _active(client.get_experiment_by_name(name), uri)


def _active(found: Any, uri: str) -> str:
    if found.lifecycle_stage != "active":
        restore = f"MLFLOW_TRACKING_URI={public(uri)} mlflow experiments restore --experiment-id {found.experiment_id}"
        raise RilbenchError(
            f"the experiment {found.name!r} is deleted. `{restore}` restores it, or set MLFLOW_EXPERIMENT_NAME to "
            "another name."
        )
    return str(found.experiment_id)


def run(client: Any, run_id: str) -> Any | None:
    """A run; None when it is missing or deleted. Any other trouble is raised."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def run_of(client: Any, experiment_id: str, key: str) -> Any | None:
    """The run with a key among its tags; None when there is none."""
    return next(iter(client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1)), None)


def pages(client: Any, experiment_id: str, query: str) -> list[Any]:
    """All runs of a search."""
    page = client.search_runs([experiment_id], query)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment_id], query, page_token=page.token)
        runs += page
    return runs


def params(pairs: Sequence[tuple[str, str]]) -> list[Any]:
    """MLflow's parameter objects of (key, value)."""
    from mlflow.entities import Param

    return [Param(key, value) for key, value in pairs]


def metrics(points: Sequence[tuple[str, float, int, int]]) -> list[Any]:
    """MLflow's metric objects of (key, value, step, time in ms)."""
    from mlflow.entities import Metric

    return [Metric(key, value, time, step) for key, value, step, time in points]


def _client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # announces every retry
    return MlflowClient(tracking_uri=uri)


def is_mlflow(uri: str) -> bool:
    """Whether it is MLflow that answers at an HTTP address; NoAnswer when nothing does."""
    return re.match(r"\d+\.\d+", _answer(f"{public(uri).rstrip('/')}/version")) is not None


def _probe(uri: str) -> None:
    """Any HTTP answer at all is a live server; its own errors come later with a better message."""
    _answer(f"{public(uri).rstrip('/')}/health")


def _answer(address: str) -> str:
    """The beginning of a page; empty when the server refuses it."""
    try:
        with urllib.request.urlopen(address, timeout=PROBE_SECONDS) as page:
            return str(page.read(100).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):
            raise NoAnswer(f"no answer within {PROBE_SECONDS} s: {reason}") from None
    return ""
