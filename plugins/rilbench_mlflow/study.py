"""Compares runs in MLflow: tags the runs of a study or store and saves views of them in the experiment."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public
from rilbench.contracts.result import RunResult
from rilbench.engine.identity import digest
from rilbench_mlflow import connection, pictures, saved
from rilbench_mlflow.address import HOST, PORT, is_http, tracking_uri
from rilbench_mlflow.labels import own
from rilbench_mlflow.sending import results_of
from rilbench_mlflow.state import load
from rilbench_mlflow.views import NAMES, Study, views

STUDY = "rilbench_study"  # plus the study's key: the tag whose value is the run's label in the study


def show(study: Path, results: Sequence[RunResult]) -> dict[str, str]:
    """Tag the runs of a study or store and save its views; name to address of each view.

    Runs that were never sent are left out and counted; raises RilbenchError when none was sent. A repeated study
    replaces its views. Tags of other studies are not touched.
    """
    with connection.connected(tracking_uri()) as client:
        there = connection.runs_of(client, tracking_uri())
        keys = [(load(result.folder).key if result.folder else "", result) for result in results]
        sent = [(there[key], result) for key, result in keys if key in there]
        if not sent:
            raise RilbenchError("none of its runs has been sent to MLflow.")
        experiment = str(sent[0][0].info.experiment_id)
        for name, state in views(_described(client, study, sent)).items():
            key, value = saved.tag(_key(study, name), f"{_name(study)}: {name}", state, time=int(time.time() * 1000))
            client.set_experiment_tag(experiment, key, value)
    missing = len(results) - len(sent)
    lines = {"mlflow": f"{missing} of {len(results)} runs were not sent and are not in the views"} if missing else {}
    return links(study, experiment) | lines


def refresh(store: Path) -> dict[str, str]:
    """Save the views of a store's finished runs; name to address of each. Empty when none was sent."""
    finished = [result for result in results_of(store).values() if result.status == "finished"]
    sent = [result for result in finished if result.folder and load(result.folder).here]
    return show(store, sent) if sent else {}


def lines(folder: Path) -> dict[str, str]:
    """Name to address of the views that contain a run; empty when they were not saved."""
    state = load(folder)
    return links(folder.parent, state.experiment_id) if state.status == "FINISHED" and state.here else {}


def links(study: Path, experiment: str) -> dict[str, str]:
    """Name to address of the views of a study or store."""
    uri = tracking_uri()
    base = public(uri).rstrip("/") if is_http(uri) else f"http://{HOST}:{PORT}"
    served = "" if is_http(uri) else " (rilbench ui serves it)"
    paths = {name: saved.path(experiment, _key(study, name), charts=name != NAMES[0]) for name in NAMES}
    return {f"mlflow {name}": f"{base}{path}{served}" for name, path in paths.items()}


def labels(results: Sequence[RunResult]) -> list[str]:
    """A label per run, such as `rid`, or `rid lam=10` if there are runs of `rid` with another `lam`."""
    if len({run.label for run in results}) == len(results):
        return [run.label for run in results]
    from rilbench.analysis.methods import differing, settings_of

    apart = differing(results, settings_of(results))
    return [
        " ".join([run.label, *(f"{key.rpartition('.')[2]}={value}" for key, value in apart[run.name].items())])
        for run in results
    ]


def examples(results: Sequence[RunResult], labels: Sequence[str]) -> dict[str, str]:
    """Parameters that select few runs with all labels: order and seed of the first run, or one of the two."""
    for keys in (("rewards", "seed"), ("rewards",), ("seed",)):
        wanted = {key: own(results[0])[key] for key in keys}
        if {label for run, label in zip(results, labels, strict=True) if wanted.items() <= own(run).items()} == {
            *labels
        }:
            return wanted
    return {}


def _described(client: Any, study: Path, sent: Sequence[tuple[Any, RunResult]]) -> Study:
    results = [result for _, result in sent]
    names = labels(results)
    tag = f"{STUDY}.{_tag(study)}"
    for (run, _), label in zip(sent, names, strict=True):
        if run.data.tags.get(tag) != label:
            client.set_tag(run.info.run_id, tag, label)
    members = f"tags.`{tag}` LIKE '%'"
    few = [f"params.{key} = '{value}'" for key, value in examples(results, names).items()]
    keys = {picture.key for run in results if run.folder for picture in pictures.of_end(run.folder, run)}
    return Study(
        results=results,
        tag=tag,
        runs=members,
        shown=" AND ".join([members, *few]),
        labels=sorted(set(names)),
        logged=sorted({key for run, _ in sent for key in run.data.metrics}),
        pictures=sorted(keys, key=lambda key: int(key.removeprefix(pictures.AFTER_LAST).partition(" ")[0])),
        params=_differing([run.data.params for run, _ in sent]),
    )


def _differing(params: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the parameters that differ between runs, those with the fewest values first."""
    values = {key: {of_run.get(key, "") for of_run in params} for of_run in params for key in of_run}
    return sorted((key for key, found in values.items() if len(found) > 1), key=lambda key: (len(values[key]), key))


def _name(study: Path) -> str:
    """The name of a folder in the characters of MLflow's tags."""
    return re.sub(r"[^\w. -]", "-", study.resolve().name, flags=re.ASCII)


def _tag(study: Path) -> str:
    """The name with a hash, because studies of several stores in one experiment may have the same name."""
    return f"{_name(study)}-{digest(str(study.resolve()))[:6]}"


def _key(study: Path, view: str) -> str:
    return f"{_tag(study)}-{view}".replace(" ", "-")
