"""Loads results from MLflow: the runs at an address, a link of its UI or a tracking URI."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rilbench.analysis.sources import some
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public
from rilbench.contracts.result import RunResult
from rilbench.engine.progress import Reporter
from rilbench.store.layout import RunFiles
from rilbench_mlflow import connection, saved
from rilbench_mlflow.address import absolute, database, experiment, is_http, tracking_uri
from rilbench_mlflow.labels import FOLDER

PAGE = re.compile(r"/experiments/(?P<experiment>\d+)(?:/runs/(?P<run>[0-9a-f]{32}))?(?:[/?]|$)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The target of an address: an experiment by name or `#ID`, or one of its runs, and the query of the link."""

    uri: str
    experiment: str
    run: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


def find(source: str) -> list[RunResult] | None:
    """The results at `http://server/#/experiments/ID`, or at `URI#NAME` for any tracking URI, such as `sqlite:///FILE`.

    Without an experiment, the one that runs are sent to. A link to a saved view or a search gives the runs it shows:
    finished ones only, unless the link is to a single run; the others are named on stderr. None if it is not an address
    of MLflow. Raises RilbenchError when the server does not answer or has no such experiment or run.
    """
    place = parse(source)
    if place is None:
        return None
    file = database(place.uri)
    if file is not None and not file.exists():
        raise RilbenchError(f"{public(source)}: the file {file} does not exist.")
    try:
        with connection.connected(place.uri) as client:
            runs = _runs(client, place)
            usable = [run for run in runs if run.info.status == "FINISHED" or place.run]
            found = [(run, _result(client, run.info.run_id)) for run in usable]
    except Exception as error:
        raise RilbenchError(f"{public(source)}: {connection.reason(error)}") from None
    without = [run for run, result in found if result is None]
    _say_incomplete(source, [run for run in runs if run not in usable], without, len(runs))
    return [result for _, result in found if result is not None]


def _say_incomplete(source: str, unfinished: list[Any], without: list[Any], count: int) -> None:
    """Warn of left-out runs, because a comparison without them is incomplete."""
    if not unfinished and not without:
        return
    said = [f"{run.info.run_name} ({run.info.status})" for run in unfinished]
    said += [f"{run.info.run_name} (no {RunFiles.RESULT})" for run in without]
    stores = {str(Path(run.data.tags[FOLDER]).parent) for run in (*unfinished, *without) if FOLDER in run.data.tags}
    where = shlex.join(sorted(stores)) if len(stores) == 1 else "STORE"
    Reporter().warn(
        f"{public(source)}: {len(said)} of {count} runs are incomplete there and left out: "
        f"{some(said)}. `rilbench upload {where}` sends what their store has; repeating a run's "
        "command finishes it."
    )


def parse(source: str) -> Place | None:
    """The place an address names; None when it is not an address of MLflow, which a server is asked in doubt."""
    base, _, fragment = source.partition("#")
    uri = base.rstrip("/") if is_http(base) else absolute(base)
    page = PAGE.match(fragment)
    if not (database(uri) or uri == tracking_uri() or (is_http(uri) and (page or _is_server(source, uri)))):
        return None
    if page:
        query = dict(parse_qsl(fragment.partition("?")[2]))
        return Place(uri=uri, experiment=f"#{page['experiment']}", run=page["run"] or "", query=query)
    return Place(uri=uri, experiment=fragment.strip("/") or experiment())


def _is_server(source: str, uri: str) -> bool:
    """Ask the server; one that is silent is ours if the address names nothing but it."""
    try:
        return re.match(r"\d+\.\d+", connection.answer(uri, "version")) is not None
    except RilbenchError as error:
        if urlsplit(uri).path:
            return False
        raise RilbenchError(f"{public(source)}: {error}") from None


def _runs(client: Any, place: Place) -> list[Any]:
    """Newest first."""
    if place.run:
        return [client.get_run(place.run)]
    found = connection.named(client, place.experiment)
    if found is None:
        raise RilbenchError(f"there is no experiment {place.experiment!r}.")
    query = _shown(found, place.query)
    return list(client.search_runs([found.experiment_id], query, max_results=connection.MOST_RUNS))


def _shown(experiment: Any, query: Mapping[str, str]) -> str:
    """The filter of the search or saved view that a link opens."""
    key = query.get("viewStateShareKey")
    if key is None:
        return query.get("searchFilter", "")
    try:
        return str(saved.state(experiment.tags[saved.PREFIX + key]).get("searchFilter", ""))
    except (KeyError, ValueError):
        raise RilbenchError(f"the experiment has no saved view {key!r}.") from None


def _result(client: Any, run_id: str) -> RunResult | None:
    """The result of a run, None if it has none; raises ConfigError when it is damaged or of another schema."""
    if RunFiles.RESULT not in {item.path for item in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        text = Path(client.download_artifacts(run_id, RunFiles.RESULT, folder)).read_text(encoding="utf-8")
    return RunResult.from_json(json.loads(text), f"{RunFiles.RESULT} of the run {run_id}")
