"""Results back from MLflow: the runs at an address, as a link of its UI or a tracking URI names them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from rilbench.errors import RilbenchError
from rilbench.result import RunResult
from rilbench_mlflow import artifacts, connection, saved
from rilbench_mlflow.address import absolute, database, experiment_name, is_http, public, tracking_uri
from rilbench_mlflow.reasons import reason

PAGE = re.compile(r"/experiments/(?P<experiment>\d+)(?:/runs/(?P<run>[0-9a-f]{32}))?(?:[/?]|$)")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What an address names: an experiment by id or by name, or one run, and what the link shows of it."""

    uri: str
    experiment: str = ""
    name: str = ""
    run: str = ""
    query: Mapping[str, str]


def find(source: str) -> list[RunResult] | None:
    """The results at `http://server/#/experiments/ID`, or at `URI#NAME` for any tracking URI, such as `sqlite:///FILE`.

    Without an experiment it is the one runs are sent to. A link to a saved view or a search gives the runs it shows.
    Finished runs only, unless the link is one run's. None when it is no address of MLflow; RilbenchError when the
    server does not answer or has no such experiment or run.
    """
    place = parse(source)
    if place is None:
        return None
    file = database(place.uri)
    if file is not None and not file.exists():
        raise RilbenchError(f"{public(source)}: the file {file} does not exist.")
    try:
        with connection.connected(place.uri) as client:
            found = [artifacts.result(client, run_id) for run_id in _run_ids(client, place)]
    except Exception as error:
        raise RilbenchError(f"{public(source)}: {reason(error)}") from None
    return [result for result in found if result is not None]


def parse(source: str) -> Place | None:
    """The place an address names; None when it is no address of MLflow, which a server is asked in doubt."""
    base, _, fragment = source.partition("#")
    uri = base.rstrip("/") if is_http(base) else absolute(base)
    page = PAGE.match(fragment)
    if not (database(uri) or uri == tracking_uri() or (is_http(uri) and (page or _is_server(source, uri)))):
        return None
    if page:
        query = dict(parse_qsl(fragment.partition("?")[2]))
        return Place(uri=uri, experiment=page["experiment"], run=page["run"] or "", query=query)
    return Place(uri=uri, name=fragment.strip("/") or experiment_name(), query={})


def _is_server(source: str, uri: str) -> bool:
    """Ask the server; one that is silent is ours if the address names nothing but it."""
    try:
        return connection.is_mlflow(uri)
    except RilbenchError as error:
        if urlsplit(uri).path:
            return False
        raise RilbenchError(f"{public(source)}: {error}") from None


def _run_ids(client: Any, place: Place) -> Sequence[str]:
    """Newest first."""
    if place.run:
        return [client.get_run(place.run).info.run_id]
    if place.experiment:
        experiment = client.get_experiment(place.experiment)
    else:
        experiment = client.get_experiment_by_name(place.name)
    if experiment is None:
        raise RilbenchError(f"there is no experiment {place.name!r}.")
    shown = _shown(experiment, place.query)
    query = " AND ".join(part for part in ("attributes.status = 'FINISHED'", shown) if part)
    return [run.info.run_id for run in _pages(client, experiment.experiment_id, query)]


def _shown(experiment: Any, query: Mapping[str, str]) -> str:
    """The filter of the search or saved view that a link opens."""
    key = query.get("viewStateShareKey")
    if key is None:
        return query.get("searchFilter", "")
    try:
        return str(saved.state(experiment.tags[saved.PREFIX + key]).get("searchFilter", ""))
    except (KeyError, ValueError):
        raise RilbenchError(f"the experiment has no saved view {key!r}.") from None


def _pages(client: Any, experiment_id: str, query: str) -> list[Any]:
    page = client.search_runs([experiment_id], query)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment_id], query, page_token=page.token)
        runs += page
    return runs
