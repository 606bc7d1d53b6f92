"""Runs and studies in a process that kills itself with SIGKILL at a moment of its work with MLflow, and what MLflow
has of a store afterwards. A fork has the libraries loaded, so that a moment costs a second."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import toy

from rilbench.contracts.result import RunResult
from rilbench.engine.progress import Reporter
from rilbench.store.results import load_result
from rilbench_mlflow import sending

COUNTED = ("create_run", "log_batch", "log_artifacts", "log_artifact", "set_tag", "update_run", "set_terminated")
SETTINGS = ("tracking=true", "train.samples=4", "evaluate.images_per_prompt=1", "evaluate.metrics=[]")


class Death:
    """Counts moments and kills the process at one of them; moments are before and after everything that is sent or
    written, and at every hook."""

    def __init__(self, at: int) -> None:
        self.at, self.count, self.lock = at, 0, threading.Lock()

    def moment(self) -> None:
        with self.lock:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self.moment()
            try:
                return function(*arguments, **named)
            finally:
                self.moment()

        return watched

    def install(self) -> None:
        from mlflow.tracking import MlflowClient

        from rilbench.host.hook_caller import HookCaller
        from rilbench.store import files as store

        for name in COUNTED:
            setattr(MlflowClient, name, self.around(getattr(MlflowClient, name)))
        for module in (sending,):
            module.save = self.around(module.save)  # type: ignore[attr-defined]
        HookCaller.call = self.around(HookCaller.call)  # type: ignore[method-assign]
        store.write_json = self.around(store.write_json)  # type: ignore[assignment]


def forked(work: Callable[[], object], death: Death | None = None) -> tuple[bool, int]:
    """Do work in a child; whether it was killed, and how many moments it had."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            if death:
                death.install()
            work()
            os.write(writing, str(death.count if death else 0).encode())
            os._exit(0)
        except BaseException as error:
            os.write(writing, repr(error).encode()[:500])
            os._exit(1)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 1000).decode()
    os.close(reading)
    killed = os.WIFSIGNALED(status)
    assert killed or os.waitstatus_to_exitcode(status) == 0, told
    return killed, int(told or 0)


def run(folder: Path) -> None:
    """Two rewards in a row."""
    toy.run(folder, *SETTINGS)


def study(folder: Path) -> None:
    """Two strategies, one seed each, then the study's end."""
    from rilbench_study import definition
    from rilbench_study.cells import make_cells
    from rilbench_study.graph import Graph
    from rilbench_study.run import StudyRun

    toy.config(folder)
    section = "  rewards: [red, dark]\n  strategies: [baseline, rid]\n  seeds: 1\n"
    (folder / "study.yaml").write_text(f"study:\n  name: kills\n  base: {folder}/toy.yaml\n{section}")
    asked = definition.load(str(folder / "study.yaml"), SETTINGS)
    graph = Graph(make_cells(asked, toy.catalog(), Reporter(quiet=True).warn))
    running = StudyRun(asked, graph, toy.catalog(), workers=1, command="rilbench study")
    running.run()
    running.finish()


def differences(folder: Path) -> list[str]:
    """How MLflow's runs and the store's results differ; empty when they are equal."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("rilbench")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    results = {file.parent.name: load_result(file.parent) for file in (folder / "runs").glob("*/result.json")}
    found = []
    if sorted(run.info.run_name for run in runs) != sorted(results):
        found.append(f"runs {sorted(run.info.run_name for run in runs)} are not {sorted(results)}")
    for run in runs:
        result = results.get(run.info.run_name)
        if result is not None:
            found += _run_differences(client, folder / "runs", run, result)
    return found


def _run_differences(client: Any, store: Path, run: Any, result: RunResult) -> list[str]:
    from rilbench_mlflow.points import final_points, stage_points

    found = []
    if (run.info.status, result.status) != ("FINISHED", "finished"):
        found.append(f"{result.name} is {run.info.status}, its result {result.status}")
    rows = range(len(result.matrix.rows))
    points = [point for row in rows for point in stage_points(store, result, row)] + final_points(store, result)
    wanted: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        wanted.setdefault(point.key, []).append((point.step, point.value))
    if set(run.data.metrics) != set(wanted):
        found.append(f"{result.name} has the metrics {sorted(set(run.data.metrics) ^ set(wanted))} too many or too few")
    for key in run.data.metrics:
        there = sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
        if there != sorted(wanted.get(key, [])):
            found.append(f"{result.name}: {key} is {there}, not {wanted.get(key)}")
    files = [item.path for item in client.list_artifacts(run.info.run_id, "images")]
    pictures = [path.partition("+timestamp")[0] for path in files if path.endswith(".png")]
    if len(set(pictures)) != len(pictures) or len(pictures) != 2 * (len(rows) + 1):
        found.append(f"{result.name} has {len(pictures)} pictures, {len(set(pictures))} of them different")
    return found
