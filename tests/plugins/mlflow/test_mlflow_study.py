"""Whole studies in MLflow: tags, saved views, several processes, and results fetched again by address."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import socket
import sys
import time
import zlib
from base64 import b64decode
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import write_run

from rilbench.cli import main
from rilbench.contracts.errors import RilbenchError, UsageError
from rilbench.contracts.hooks import Hooks
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.engine.identity import digest
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller
from rilbench.store.files import write_json, write_text
from rilbench.store.results import load_result
from rilbench_mlflow import MlflowTracker, connection, saved
from rilbench_mlflow.fetch import find, parse
from rilbench_mlflow.study import examples, labels, show
from rilbench_mlflow.upload import runs_in, sync, sync_study
from rilbench_mlflow.views import Study, views

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def a_study(place: Path) -> list[RunResult]:
    """Two strategies, two seeds, in the store `place/colours`."""
    folders = [write_run(place / "colours", strategy, seed) for strategy in ("baseline", "rid") for seed in (0, 1)]
    return [load_result(folder) for folder in folders]


def experiment(place: Path) -> Any:
    return client(place).get_experiment_by_name("rilbench")


def client(place: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")


def logged(place: Path) -> dict[str, Any]:
    return {run.info.run_name: run for run in client(place).search_runs([experiment(place).experiment_id])}


def tag(study: Path) -> str:
    """What a study is called in tags: its name, and a hash of where it is."""
    return f"{study.name.replace('/', '-')}-{digest(str(study.resolve()))[:6]}"


def view(place: Path, key: str) -> dict[str, Any]:
    """The state of the saved view `STUDY-VIEW`, unpacked as the UI does it."""
    study, _, name = key.rpartition("-")
    envelope = json.loads(experiment(place).tags[f"mlflow.sharedViewState.{tag(place / study)}-{name}"])
    assert isinstance(envelope["createdAt"], int)
    assert isinstance(envelope["updatedAt"], int)
    packed = envelope["state"].removeprefix("deflate;")
    return dict(json.loads(zlib.decompress(b64decode(packed))), name=envelope["name"])


def charts(state: dict[str, Any], title: str) -> list[dict[str, Any]]:
    """The visible charts of a section."""
    (section,) = (s for s in state["compareRunSections"] if s["name"] == title)
    return [c for c in state["compareRunCharts"] if c.get("metricSectionId") == section["uuid"] and "deleted" not in c]


@pytest.mark.slow
def test_a_study_gets_tags_and_views(place: Path) -> None:
    a_study(place)
    lines = sync_study([place / "colours"])
    number = experiment(place).experiment_id
    study = tag(place / "colours")
    for name in ("table", "final", "forgetting", "stages", "pictures"):
        charts = "" if name == "table" else "&compareRunsMode=CHART"
        path = f"/#/experiments/{number}/runs?viewStateShareKey={study}-{name}{charts}"
        assert lines[f"mlflow {name}"] == f"http://127.0.0.1:5000{path} (rilbench ui serves it)"
        assert view(place, f"colours-{name}")["name"] == f"colours: {name}"
    for name, run in logged(place).items():
        assert run.data.tags["rilbench.label"] == run.data.tags[f"rilbench_study.{study}"] == name.split("-")[0]


@pytest.mark.slow
def test_grouped_views_chart_every_metric_and_nothing_else(place: Path) -> None:
    a_study(place)
    sync_study([place / "colours"])
    final, forgetting = view(place, "colours-final"), view(place, "colours-forgetting")
    for state in (final, forgetting):
        name = f"rilbench_study.{tag(place / 'colours')}"
        assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": name}]
        assert state["groupsExpanded"] == {f"tag.{name}.baseline": False, f"tag.{name}.rid": False}
        keys = [card["metricKey"] for card in state["compareRunCharts"]]
        assert sorted(keys) == sorted({*keys, *next(iter(logged(place).values())).data.metrics})
        assert len({card["uuid"] for card in state["compareRunCharts"]}) == len(keys)
    higher, lower = "higher is better", "lower is better"
    names = [f"red x100 - {higher}", f"blue x100 - {higher}", f"kb kB - {lower}"]
    bars = charts(final, "Base model (start) and after the last stage (final)")
    wanted = [("BAR", f"{section}/{name}") for name in names for section in ("start", "final")]
    assert [(card["type"], card["metricKey"]) for card in bars] == wanted
    ends = charts(forgetting, "Forgetting at the end")
    assert [card["metricKey"] for card in ends] == [f"final_forgetting/{name.replace(higher, lower)}" for name in names]
    red, _, kb = charts(view(place, "colours-stages"), "Value after each stage")
    assert (red["type"], red["xAxisKey"], red["metricKey"]) == ("LINE", "step", f"eval/{names[0]}")
    # red is 1 for the base, at most 1 + 2 (baseline) + 0.1 (seed) + 1 (lam): 3.1 and a margin of 5 %, in hundredths
    assert red["range"] == pytest.approx({"yMin": 100 - 15.5, "yMax": 410 + 15.5})
    assert kb["range"] == pytest.approx({"yMin": 9.9, "yMax": 12.1})
    columns = view(place, "colours-table")["selectedColumns"]
    assert {"params.`strategy`", "params.`seed`", f"metrics.`final/{names[0]}`"} <= set(columns)


@pytest.mark.slow
def test_the_pictures_are_of_one_run_a_strategy(place: Path) -> None:
    a_study(place)
    sync_study([place / "colours"])
    state = view(place, "colours-pictures")
    assert not state["useGroupedValuesInCharts"]
    (last,), (each,) = charts(state, "After the last stage"), charts(state, "After each stage")
    prompts = ["1 a red circle small", "2 a blue square"]
    assert (last["type"], last["imageKeys"]) == ("IMAGE", [f"pictures after the last stage/{p}" for p in prompts])
    assert (each["step"], each["imageKeys"]) == (1, [f"pictures after each stage/{p}" for p in prompts])
    hidden = [card["imageKeys"] for card in state["compareRunCharts"] if "deleted" in card and card["type"] == "IMAGE"]
    assert hidden == [[key] for key in last["imageKeys"] + each["imageKeys"]]
    found = client(place).search_runs([experiment(place).experiment_id], state["searchFilter"])
    assert {run.info.run_name for run in found} == {"baseline-red-blue-seed0-1", "rid-red-blue-seed0-1"}


@pytest.mark.slow
def test_a_repeated_study_replaces_its_views_and_another_leaves_them(place: Path) -> None:
    first, *_, last = a_study(place)
    sync_study([place / "colours"])
    before = logged(place)[last.name].data.tags
    show(place / "more", [first, last])
    show(place / "colours", [first])
    tags = [key for key in experiment(place).tags if key.startswith("mlflow.sharedViewState.")]
    assert len(tags) == 10
    after = logged(place)[last.name].data.tags
    assert after == before | {f"rilbench_study.{tag(place / 'more')}": "rid"}, "another study's labels stay"
    for study, count in (("colours", 4), ("more", 2)):
        filtered = client(place).search_runs(
            [experiment(place).experiment_id], view(place, f"{study}-final")["searchFilter"]
        )
        assert len(filtered) == count


@pytest.mark.slow
def test_runs_that_were_never_sent_are_counted(place: Path) -> None:
    first, *others = a_study(place)
    with pytest.raises(RilbenchError, match="none of its runs"):
        show(place / "colours", others)
    sync(place / "colours" / first.name)
    assert show(place / "colours", [first, *others])["mlflow"].startswith("3 of 4 runs were not sent")


def test_a_large_study_fits_into_tags() -> None:
    """MLflow takes 20000 characters; there are servers that take 5000."""
    names = [f"metric_{hashlib.sha256(bytes([i])).hexdigest()[:12]}" for i in range(40)]
    row = Row(label="base", values={name: i / 7 for i, name in enumerate(names)})
    infos = tuple(MetricInfo(name=name, higher_is_better=True) for name in names)
    rows = (row, replace(row, values={name: i / 11 for i, name in enumerate(names)}))
    result = RunResult(name="r", strategy="rid", rewards=(), seed=0, matrix=ResultMatrix(rows, infos))
    kinds = ("eval", "forgetting", "final", "final_forgetting", "train")
    logged = [f"{kind}/{name}" for kind in kinds for name in names]
    study = Study(results=[result], tag="t", runs="a", shown="b", labels=["rid"], logged=logged, pictures=[])
    for name, state in views(study).items():
        key, value = saved.tag(f"large-{name}", name, state, time=1)
        assert len(value) < 5000
        assert saved.state(value) == state
        assert key == f"mlflow.sharedViewState.large-{name}"


@pytest.mark.slow
def test_variants_of_a_strategy_are_told_apart(place: Path) -> None:
    for lam in (1, 30):
        write_run(place / "colours", "rid", lam=lam)
    write_run(place / "colours", "baseline")
    sync_study([place / "colours"])
    names = {name: run.data.tags[f"rilbench_study.{tag(place / 'colours')}"] for name, run in logged(place).items()}
    assert names == {
        "rid-red-blue-seed0-1": "rid lam=1",
        "rid-red-blue-seed0-30": "rid lam=30",
        "baseline-red-blue-seed0-1": "baseline",
    }


def test_labels_show_what_differs_within_a_strategy(tmp_path: Path) -> None:
    def labelled(*runs: tuple[str, dict[str, Any]]) -> list[str]:
        results = []
        for i, (label, settings) in enumerate(runs):
            write_text(tmp_path / str(i) / "config.yaml", yaml.safe_dump(settings))
            known = RunResult(name=str(i), strategy="rid", rewards=(), seed=0, matrix=ResultMatrix((), ()))
            results.append(replace(known, label=label, folder=tmp_path / str(i)))
        return labels(results)

    def settings(lam: float, lr: float, seed: int = 0) -> dict[str, Any]:
        own = {"strategy_settings": {"rid": {"lam": lam}}, "train": {"lr": lr}}
        return {"strategy": "rid", "seed": seed, "evaluate": {"pictures": lr}, **own}

    runs = [("rid", settings(1, 1)), ("rid", settings(2, 1)), ("rid", settings(1, 1, seed=1)), ("soup", settings(7, 7))]
    assert labelled(*runs) == ["rid lam=1", "rid lam=2", "rid lam=1", "soup"]
    assert labelled(("rid", settings(1, 1)), ("rid", settings(3, 2)))[1] == "rid lam=3 lr=2"
    assert labelled(("rid", settings(1, 1)), ("rid-lam0", settings(0, 1))) == ["rid", "rid-lam0"]
    assert labelled(("rid", settings(1, 1)), ("rid", {})) == ["rid", "rid"]


def test_examples_are_few_runs_of_every_label(tmp_path: Path) -> None:
    def result(strategy: str, seed: int, order: str) -> RunResult:
        return load_result(write_run(tmp_path, strategy, seed, order=order))

    runs = [result("rid", 3, "red blue"), result("baseline", 3, "red blue"), result("rid", 3, "blue red")]
    assert examples(runs, ["rid", "baseline", "rid"]) == {"rewards": "red > blue", "seed": "3"}
    runs += [result("joint", 5, "red blue")]
    assert examples(runs, ["rid", "baseline", "rid", "joint"]) == {"rewards": "red > blue"}
    runs[-1] = result("joint", 3, "blue red")
    assert examples(runs, ["rid", "baseline", "rid", "joint"]) == {"seed": "3"}
    runs[-1] = result("joint", 5, "blue red")
    assert examples(runs, ["rid", "baseline", "rid", "joint"]) == {}


@pytest.mark.slow
def test_fetched_results_are_the_local_ones(place: Path) -> None:
    local = {result.name: result for result in a_study(place)}
    assert sync_study([place / "colours"])["mlflow"].startswith("4 runs of the study colours are in sqlite:///")
    for source in (f"sqlite:///{place}/mlflow.db", "sqlite:///mlflow.db#rilbench"):
        assert {result.name: result for result in find(source) or []} == local
    number = experiment(place).experiment_id
    link = f"sqlite:///mlflow.db#/experiments/{number}"
    assert len(find(f"{link}/runs?searchFilter=params.seed+%3D+%271%27") or []) == 2
    assert (
        len(find(f"{link}/runs?viewStateShareKey={tag(place / 'colours')}-pictures&compareRunsMode=CHART") or []) == 2
    )
    (run,) = (run for run in logged(place).values() if run.info.run_name == "rid-red-blue-seed1-1")
    assert find(f"{link}/runs/{run.info.run_id}") == [local["rid-red-blue-seed1-1"]]


@pytest.mark.slow
def test_unfinished_runs_are_named_and_fetched_by_their_own_link_only(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(place / "colours", "rid")
    write_json(folder / "result.json", replace(load_result(folder), status="failed").to_json())
    sync(folder)
    assert find("sqlite:///mlflow.db") == []
    said = capsys.readouterr().err
    assert re.search(rf"1 of 1 runs.*{re.escape(folder.name)} \(FAILED\)", said)
    assert f"rilbench upload {place / 'colours'}" in said
    (run,) = logged(place).values()
    link = f"sqlite:///mlflow.db#/experiments/{experiment(place).experiment_id}/runs/{run.info.run_id}"
    assert [result.status for result in find(link) or []] == ["failed"]


@pytest.mark.slow
def test_what_is_no_address_of_mlflow(place: Path) -> None:
    for source in ("runs", "runs#/experiments/1", "wandb://me/project", "http://127.0.0.1:1/me/project", ""):
        assert find(source) is None
    place_of = parse("https://host:80/sub/#/experiments/12/runs?o=1")
    assert place_of is not None
    assert (place_of.uri, place_of.experiment, place_of.run) == ("https://host:80/sub", "#12", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sqlite:///none.db", "none.db does not exist"),
        ("sqlite:///mlflow.db#absent", "there is no experiment 'absent'"),
        ("sqlite:///mlflow.db#/experiments/0/runs?viewStateShareKey=x", "no saved view 'x'"),
        ("sqlite:///mlflow.db#/experiments/77", "No Experiment with id=77"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_clear_error(place: Path, source: str, message: str) -> None:
    with pytest.raises(RilbenchError, match=message) as raised:
        find(source)
    assert "\n" not in str(raised.value)
    assert not (place / "none.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("page", ["", "/#/experiments/1"])
def test_a_dead_server_is_one_clear_error_within_seconds(
    place: Path, silent: bool, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.2)
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        if silent:
            server.listen()
        source = f"http://me:secret@127.0.0.1:{server.getsockname()[1]}{page}"
        start = time.perf_counter()
        with pytest.raises(RilbenchError, match=r"no answer within 0\.2 s") as raised:
            HookCaller(Catalog(), pytest.fail).find_runs(source)
    assert time.perf_counter() - start < 10
    assert "secret" not in str(raised.value)


@pytest.mark.slow
def test_one_tracker_sends_run_after_run(place: Path) -> None:
    results = a_study(place)
    tracker = MlflowTracker()
    for result in results:
        play(tracker, place / "colours" / result.name, result)
    assert {run.info.status for run in logged(place).values()} == {"FINISHED"}
    assert len(logged(place)) == 4
    views = ["mlflow table", "mlflow final", "mlflow forgetting", "mlflow stages", "mlflow pictures"]
    assert list(tracker.study_finished(place / "colours", results)) == views


def play(tracker: MlflowTracker, folder: Path, result: RunResult) -> None:
    tracker.run_started(folder=folder, result=result)
    for _ in result.matrix.rows:
        tracker.stage_finished(folder=folder, result=result)
    tracker.run_finished(folder=folder, result=result)


@pytest.mark.slow
def test_a_dead_server_is_warned_of_once_a_process(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        results, tracker = a_study(place), MlflowTracker()
        play(tracker, place / "colours" / results[0].name, results[0])
        monkeypatch.setattr("rilbench_mlflow.tracker.send", lambda *_: pytest.fail("sent again"))
        for result in results[1:]:
            play(tracker, place / "colours" / result.name, result)
        lines = tracker.study_finished(place / "colours", results)
    assert capfd.readouterr().err.count("warning:") == 1
    assert "no answer" not in lines["mlflow"]
    assert f"`rilbench upload {place}/colours`" in lines["mlflow"]


@pytest.mark.slow
def test_trouble_of_one_run_does_not_silence_the_next(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = a_study(place)
    tracker = MlflowTracker()
    with monkeypatch.context() as broken:
        broken.setattr("rilbench_mlflow.tracker.send", lambda *_: 1 / 0)
        play(tracker, place / "colours" / first.name, first)
    play(tracker, place / "colours" / second.name, second)
    assert capfd.readouterr().err.count("warning:") == 1
    assert list(logged(place)) == [second.name]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_may_send_at_once_into_a_new_store(place: Path) -> None:
    """Nobody has made the database or the experiment yet."""
    (place / "mlflow.db").unlink()
    results = a_study(place)[:2]
    fork = multiprocessing.get_context("fork")  # has mlflow imported
    running = [fork.Process(target=sync, args=(place / "colours" / result.name,)) for result in results]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0]
    assert {name: run.info.status for name, run in logged(place).items()} == {r.name: "FINISHED" for r in results}
    # eval, start and final of 3 metrics; forgetting, also at the end, of 2: blue was trained last; loss; gain of 2
    assert {len(run.data.metrics) for run in logged(place).values()} == {3 + 3 + 3 + 2 + 2 + 1 + 2}


@pytest.mark.slow
def test_upload_takes_runs_stores_and_folders_of_them(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [result.name for result in a_study(place)]

    def upload(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["rilbench", "upload", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert upload(f"colours/{names[0]}").startswith(f"run {names[0]} in sqlite:///")
    assert f"viewStateShareKey={tag(place / 'colours')}-final&" in upload(*(f"colours/{name}" for name in names[:2]))
    assert len(logged(place)) == 2
    assert "4 runs of the study colours" in upload("colours")
    assert [path.name for path in runs_in(place)] == sorted(names)
    write_json(place / "colours" / "study-two" / "study.json", {"finished": names[:2]})
    assert [path.name for path in runs_in(place / "colours" / "study-two")] == names[:2]
    with pytest.raises(UsageError, match=r"is not a run and contains none: there is no result\.json"):
        runs_in(place / "colours" / "stages")


def test_hooks_of_studies_fit_their_specification() -> None:
    _, manager = HookCaller(Catalog(), pytest.fail).plugins["mlflow"]
    for hook in ("study_finished", "find_runs"):
        assert getattr(manager.hook, hook).get_hookimpls()
        assert hasattr(Hooks, hook)
