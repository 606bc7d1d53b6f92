"""Every hook: one test each, a docstring, and a plugin of this repository that uses it."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import toy

from rilbench import hookimpl
from rilbench.contracts.errors import PluginError, RilbenchError
from rilbench.contracts.hooks import NAMES, Hooks
from rilbench.contracts.progress import Picture, Progress
from rilbench.contracts.result import ResultMatrix, Row, RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller
from rilbench.store.files import read_json
from rilbench.training.stage import StageTraining

calls: list[tuple[str, dict[str, Any]]] = []


class Recorder:
    """Notes each call with what lies on disk at that moment."""

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        calls.append(("run_started", {"result": result, "files": {p.name for p in folder.iterdir()}}))

    @hookimpl
    def update_finished(self, result: RunResult, progress: Progress) -> None:
        calls.append(("update_finished", {"progress": progress, "rows": len(result.matrix.rows)}))

    @hookimpl
    def validated(self, progress: Progress, pictures: Sequence[Picture]) -> None:
        calls.append(("validated", {"progress": progress, "pictures": pictures}))

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        calls.append(("stage_finished", {"result": result, "stage": stage, "disk": read_json(folder / "result.json")}))

    @hookimpl
    def run_finished(self, folder: Path, result: RunResult) -> None:
        calls.append(("run_finished", {"result": result, "disk": read_json(folder / "result.json")}))

    @hookimpl
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        calls.append(("run_failed", {"result": result, "error": error, "disk": read_json(folder / "result.json")}))

    @hookimpl
    def summary(self, folder: Path, result: RunResult) -> dict[str, str]:
        return {"recorder": f"{len(result.matrix.rows)} rows in {folder.name}"}

    @hookimpl
    def study_finished(self, folder: Path, results: Sequence[RunResult]) -> dict[str, str]:
        return {"recorder": f"{', '.join(result.name for result in results)} in {folder.name}"}

    @hookimpl
    def find_runs(self, source: str) -> list[RunResult] | None:
        if source == "recorder://down":
            raise RilbenchError("the recorder is down.")
        return [a_run(source)] if source.startswith("recorder://") else None


class Unreliable:
    @hookimpl
    def find_runs(self, source: str) -> list[RunResult]:
        raise LookupError("no idea")


def a_run(name: str) -> RunResult:
    return RunResult(name=name, strategy="rid", rewards=("red",), seed=0, matrix=ResultMatrix((), ()))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")


def recorded(workplace: Path, *overrides: str) -> engine.Outcome:
    recorder = EntryPoint("recorder", "test_hooks:Recorder", "rilbench.hooks")
    config = toy.config(workplace, "tracking=true", *overrides)
    return engine.run(config, catalog=toy.catalog(recorder), reporter=Reporter(quiet=True))


def only(hook: str, among: Sequence[tuple[str, dict[str, Any]]] = calls) -> list[dict[str, Any]]:
    return [values for name, values in among if name == hook]


class Heard(NamedTuple):
    """A run's outcome and the calls of its hooks."""

    outcome: engine.Outcome
    calls: tuple[tuple[str, dict[str, Any]], ...]

    def only(self, hook: str) -> list[dict[str, Any]]:
        return only(hook, self.calls)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Heard:
    """What a recorder hears of one finished run."""
    folder = tmp_path_factory.mktemp("heard")
    shutil.copytree(pipeline, folder / "pipeline")
    calls.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
        outcome = recorded(folder)
    return Heard(outcome, tuple(calls))


@pytest.mark.slow
def test_hook_run_started(heard: Heard) -> None:
    (started,) = heard.only("run_started")
    assert heard.calls[0][0] == "run_started"
    assert {"config.yaml", "environment.json"} <= started["files"]
    assert started["result"].matrix.rows == ()


@pytest.mark.slow
def test_hook_stage_finished(heard: Heard) -> None:
    finished = heard.only("stage_finished")
    assert [values["stage"] for values in finished] == [0, 1, 2]
    for values in finished:
        rows = values["result"].matrix.rows
        assert rows == heard.outcome.result.matrix.rows[: values["stage"] + 1]
        assert len(values["disk"]["stages"]) == len(rows), "the row is on disk before the hook hears of it"


@pytest.mark.slow
def test_hook_update_finished(heard: Heard) -> None:
    moments = [values["progress"] for values in heard.only("update_finished")]
    assert [(p.stage, p.label, p.update, p.updates, p.step) for p in moments] == [
        *((1, "red", i, 4, i) for i in range(1, 5)),
        *((2, "dark", i, 4, 4 + i) for i in range(1, 5)),
    ]
    assert [values["rows"] for values in heard.only("update_finished")] == [1] * 4 + [2] * 4
    (values, *_) = [moment.values for moment in moments]
    assert values["lr"] == 0.05
    assert {"loss", "reward", "images_per_second", "memory_gb"} <= values.keys()
    assert "update" not in values
    assert [moment.values["seconds_left"] == 0 for moment in moments] == [False, False, False, True] * 2


def test_hook_validated(tmp_path: Path) -> None:
    hooks, _ = with_hooks("Recorder")
    progress = Progress(stage=1, label="red", update=2, updates=4, step=2, values={"red": 0.5})
    picture = Picture(prompt="a red circle", path=tmp_path / "0.png")
    hooks.call("validated", folder=tmp_path, result=a_run("run"), progress=progress, pictures=(picture,))
    assert only("validated") == [{"progress": progress, "pictures": (picture,)}]


@pytest.mark.slow
def test_the_common_axis_continues_after_an_interruption(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = StageTraining.update

    def stop(self: StageTraining, number: int, *arguments: Any) -> dict[str, float]:
        if self.index == 2 and number == 3:
            raise KeyboardInterrupt
        return update(self, number, *arguments)

    monkeypatch.setattr(StageTraining, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        recorded(workplace, "train.checkpoint_every=2")
    calls.clear()
    monkeypatch.setattr(StageTraining, "update", update)
    recorded(workplace, "train.checkpoint_every=2")
    assert [values["progress"].step for values in only("update_finished")] == [7, 8]


def test_nothing_is_measured_for_a_plugin_that_does_not_listen() -> None:
    hooks, _ = with_hooks("Unreliable")
    assert not hooks.listens("update_finished")
    hooks, _ = with_hooks("Unreliable", "Recorder")
    assert hooks.listens("update_finished")


class Changes:
    @hookimpl
    def update_finished(self, result: RunResult) -> None:
        result.matrix.rows[0].values["red"] = 7.0  # type: ignore[index]
        calls.append(("changed", {"result": result}))

    @hookimpl
    def stage_finished(self, result: RunResult) -> None:
        calls.append(("stage_finished", {"result": result}))


def test_a_result_is_copied_for_each_plugin_once_a_stage() -> None:
    row = Row(label="base", values={"red": 1.0})
    result = replace(a_run("run"), matrix=ResultMatrix((row,), ()))
    hooks, _ = with_hooks("Changes", "Keeps")
    for _ in range(3):
        hooks.call("update_finished", result=result, progress=None, folder=Path())
    changed = {id(values["result"]) for values in only("changed")}
    kept = {id(values["result"]): values["result"].matrix.rows[0].values["red"] for values in only("kept")}
    assert (len(changed), list(kept.values())) == (1, [1.0])
    assert not changed & kept.keys()
    hooks.call("stage_finished", result=replace(result), folder=Path(), stage=1)
    (after,) = only("stage_finished")
    assert after["result"].matrix.rows[0].values == row.values == {"red": 1.0}


class Keeps:
    @hookimpl
    def update_finished(self, result: RunResult) -> None:
        calls.append(("kept", {"result": result}))


@pytest.mark.slow
def test_hook_run_finished(heard: Heard) -> None:
    (finished,) = heard.only("run_finished")
    assert heard.calls[-1][0] == "run_finished"
    assert finished["result"].status == finished["disk"]["status"] == "finished"


@pytest.mark.slow
def test_hook_run_failed(workplace: Path) -> None:
    with pytest.raises(PluginError):
        recorded(workplace, "rewards=[red,flat]")
    (failed,) = only("run_failed")
    assert "no gradient" in str(failed["error"])
    assert failed["result"].status == failed["disk"]["status"] == "failed"
    assert [values["stage"] for values in only("stage_finished")] == [0, 1]
    assert not only("run_finished")


@pytest.mark.slow
def test_hook_summary(heard: Heard) -> None:
    assert heard.outcome.summary == {"recorder": f"3 rows in {heard.outcome.folder.name}"}


def test_hook_study_finished(tmp_path: Path) -> None:
    hooks, warnings = with_hooks("Recorder")
    lines = hooks.lines("study_finished", folder=tmp_path / "colours", results=[a_run("one"), a_run("two")])
    assert (lines, warnings) == ({"recorder": "one, two in colours"}, [])


def test_hook_find_runs() -> None:
    hooks, warnings = with_hooks("Unreliable", "Recorder")
    assert hooks.find_runs("elsewhere://1") == []
    assert len(warnings) == 1
    assert "failed in find_runs: LookupError: no idea; it is skipped" in warnings[0]
    assert hooks.find_runs("recorder://1") == [a_run("recorder://1")]
    with pytest.raises(RilbenchError, match=r"^the recorder is down\.$"):
        hooks.find_runs("recorder://down")
    assert len(warnings) == 1


def with_hooks(*classes: str) -> tuple[HookCaller, list[str]]:
    """The hook plugins of some classes of this module, and the list their warnings go to."""
    warnings: list[str] = []
    points = [EntryPoint(name.lower(), f"test_hooks:{name}", "rilbench.hooks") for name in classes]
    return HookCaller(toy.catalog(*points), warnings.append), warnings


@pytest.mark.parametrize("name", NAMES)
def test_every_hook_is_tested_documented_and_used(name: str) -> None:
    assert f"test_hook_{name}" in globals()
    assert inspect.getdoc(getattr(Hooks, name)), "docs/reference/hooks.md shows it"
    ours = [plugin.value for plugin in Catalog().plugins if (plugin.kind, plugin.distribution) == ("hook", "rilbench")]
    users = [value for value in ours if _implements(value, name)]
    assert users, f"no plugin of this repository uses {name}"


def _implements(value: str, hook: str) -> bool:
    module, _, attribute = value.partition(":")
    return hasattr(getattr(importlib.import_module(module), attribute), hook)


@pytest.mark.slow
def test_the_result_json_names_the_hooks(workplace: Path) -> None:
    folder = recorded(workplace).folder
    assert json.loads((folder / "result.json").read_text())["plugins"]["hook/recorder"] == "unknown"


class Vandal:
    """Rewrites the result it is shown."""

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        for row in result.matrix.rows:
            row.values.clear()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_hook_cannot_change_the_result(workplace: Path) -> None:
    vandal = EntryPoint("vandal", "test_hooks:Vandal", "rilbench.hooks")
    config = toy.config(workplace, "tracking=true")
    result = engine.run(config, catalog=toy.catalog(vandal), reporter=Reporter(quiet=True)).result
    assert all(row.values for row in result.matrix.rows)
