"""Runs side by side in MLflow: those of a study or store are tagged, and views of them are saved in the experiment."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rilbench.analysis.recorded import strategies_of
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.engine.identity import digest
from rilbench_mlflow import connection, labels, pictures, saved
from rilbench_mlflow.address import is_http, public, tracking_uri
from rilbench_mlflow.groups import differing, examples
from rilbench_mlflow.groups import labels as label_all
from rilbench_mlflow.state import here, load
from rilbench_mlflow.ui import DEFAULT
from rilbench_mlflow.views import NAMES, Study, views

STUDY = "rilbench_study"  # and the key of the study: a tag of its runs, whose value is the label of the run in it
Sent = Sequence[tuple[Any, RunResult]]  # MLflow's run, our result


def show(study: Path, results: Sequence[RunResult]) -> dict[str, str]:
    """Tag the runs of a study's or store's folder and save its views; name to address of each view.

    Runs that were never sent are left out and counted; RilbenchError when none was sent. A repeated study replaces
    its views. No tag of another study is touched.
    """
    uri = tracking_uri()
    with connection.connected(uri) as client:
        sent = _sent(client, results)
        if not sent:
            raise RilbenchError("none of its runs is there.")
        experiment = str(sent[0][0].info.experiment_id)
        for name, state in views(_described(client, study, sent)).items():
            key, value = saved.tag(_key(study, name), f"{_name(study)}: {name}", state, time=int(time.time() * 1000))
            client.set_experiment_tag(experiment, key, value)
    missing = len(results) - len(sent)
    lines = {"mlflow": f"{missing} of {len(results)} runs are not there and not in the views"} if missing else {}
    return links(study, experiment) | lines


def links(study: Path, experiment: str) -> dict[str, str]:
    """Name to address of the views of a study or store."""
    uri = tracking_uri()
    base = public(uri).rstrip("/") if is_http(uri) else DEFAULT
    served = "" if is_http(uri) else " (rilbench ui serves it)"
    paths = {name: saved.path(experiment, _key(study, name), charts=name != NAMES[0]) for name in NAMES}
    return {f"mlflow {name}": f"{base}{path}{served}" for name, path in paths.items()}


def _sent(client: Any, results: Sequence[RunResult]) -> Sent:
    """The runs of results that were sent to today's address, if nobody deleted them."""
    ids = [(state.run_id, result) for result in results if result.folder and here(state := load(result.folder))]
    runs = [(connection.run(client, run_id), result) for run_id, result in ids if run_id]
    return [(run, result) for run, result in runs if run is not None]


def _described(client: Any, study: Path, sent: Sent) -> Study:
    results = [result for _, result in sent]
    settings = [labels.settings(result.folder) for result in results if result.folder]
    names = label_all([result.label for result in results], settings, [strategies_of(result) for result in results])
    tag = f"{STUDY}.{_tag(study)}"
    for (run, _), label in zip(sent, names, strict=True):
        if run.data.tags.get(tag) != label:
            client.set_tag(run.info.run_id, tag, label)
    members = f"tags.`{tag}` LIKE '%'"
    few = [f"params.{key} = '{value}'" for key, value in examples(results, names).items()]
    return Study(
        results=results,
        tag=tag,
        runs=members,
        shown=" AND ".join([members, *few]),
        labels=sorted(set(names)),
        logged=sorted({key for run, _ in sent for key in run.data.metrics}),
        pictures=sorted({picture.key for result in results for picture in _pictures(result)}, key=_number),
        params=differing([run.data.params for run, _ in sent]),
    )


def _pictures(result: RunResult) -> list[pictures.Picture]:
    """Those after the last stage; those after each have the same names."""
    return pictures.of_end(result.folder, result) if result.folder else []


def _number(key: str) -> int:
    return int(key.removeprefix(pictures.AFTER_LAST).partition(" ")[0])


def _name(study: Path) -> str:
    """The name of a folder in the characters of MLflow's tags."""
    return re.sub(r"[^\w. -]", "-", study.resolve().name, flags=re.ASCII)


def _tag(study: Path) -> str:
    """One experiment may have the studies of several stores that are called alike."""
    return f"{_name(study)}-{digest(str(study.resolve()))[:6]}"


def _key(study: Path, view: str) -> str:
    return f"{_tag(study)}-{view}".replace(" ", "-")
