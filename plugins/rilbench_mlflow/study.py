"""A whole study in MLflow: its runs are tagged, and comparison views of them are saved in the experiment."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rilbench.errors import RilbenchError
from rilbench.result import RunResult
from rilbench_mlflow import artifacts, connection, saved
from rilbench_mlflow.address import experiment_name, is_http, public, tracking_uri
from rilbench_mlflow.groups import examples
from rilbench_mlflow.groups import labels as label_all
from rilbench_mlflow.labels import RUN, STUDY, of_study
from rilbench_mlflow.pictures import AFTER_EACH, AFTER_LAST
from rilbench_mlflow.ui import DEFAULT
from rilbench_mlflow.views import Study, views

Sent = Mapping[str, tuple[Any, RunResult]]  # run id -> MLflow's run, our result


def show(study: str, results: Sequence[RunResult]) -> dict[str, str]:
    """Tag the runs of a study and save its views; name to address of each view.

    Runs that were never sent are left out and counted; RilbenchError when none was sent. A repeated study replaces
    its views.
    """
    uri = tracking_uri()
    study = _allowed(study)
    with connection.connected(uri) as client:
        experiment = connection.experiment(client, uri, experiment_name())
        sent = _sent(client, experiment, results)
        if not sent:
            raise RilbenchError("none of its runs is there.")
        labels = _tag(client, study, sent)
        made = views(_described(client, study, sent, labels))
        for name, state in made.items():
            key, value = saved.tag(_key(study, name), f"{study}: {name}", state, time=int(time.time() * 1000))
            client.set_experiment_tag(experiment, key, value)
    lines = {f"mlflow {name}": _link(uri, saved.path(experiment, _key(study, name))) for name in made}
    missing = len(results) - len(sent)
    return lines | (
        {"mlflow": f"{missing} of {len(results)} runs are not there and not in the views"} if missing else {}
    )


def _sent(client: Any, experiment: str, results: Sequence[RunResult]) -> Sent:
    """Run id to the newest MLflow run of each result, and the result."""
    found = {}
    for result in results:
        query = {"filter_string": f"tags.`{RUN}` = '{result.name}'", "order_by": ["attributes.start_time DESC"]}
        for run in client.search_runs([experiment], max_results=1, **query):
            found[run.info.run_id] = (run, result)
    return found


def _tag(client: Any, study: str, sent: Sent) -> list[str]:
    """The labels of the runs."""
    settings = [artifacts.settings(client, run_id) for run_id in sent]
    found = label_all([result.label for _, result in sent.values()], settings)
    for run_id, label in zip(sent, found, strict=True):
        for key, value in of_study(study, label).items():
            client.set_tag(run_id, key, value)
    return found


def _described(client: Any, study: str, sent: Sent, labels: list[str]) -> Study:
    results = [result for _, result in sent.values()]
    members = f"tags.`{STUDY}.{study}` = 'yes'"
    few = [f"params.{key} = '{value}'" for key, value in examples(results, labels).items()]
    keys = {key: None for run_id in sent for key in artifacts.pictures(client, run_id)}
    return Study(
        results=results,
        runs=members,
        shown=" AND ".join([members, *few]),
        labels=sorted(set(labels)),
        logged=sorted({key for run, _ in sent.values() for key in run.data.metrics}),
        pictures=sorted(keys, key=lambda key: (not key.startswith(AFTER_LAST), _number(key))),
    )


def _number(key: str) -> int:
    return int(key.removeprefix(AFTER_LAST).removeprefix(AFTER_EACH).partition(" ")[0])


def _allowed(study: str) -> str:
    """A name in the characters of MLflow's tags."""
    return re.sub(r"[^\w. -]", "-", study, flags=re.ASCII)


def _key(study: str, view: str) -> str:
    return f"{study}-{view}".replace(" ", "-")


def _link(uri: str, path: str) -> str:
    return f"{public(uri).rstrip('/')}{path}" if is_http(uri) else f"{DEFAULT}{path} (rilbench ui serves it)"
