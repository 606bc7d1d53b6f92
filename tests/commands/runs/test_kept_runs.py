"""`rilbench runs`: what a store holds, and what can go without harm to what stays."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy
from filelock import FileLock

from rilbench.analysis.comparison import compare
from rilbench.analysis.sources import load_runs
from rilbench.cli.main import main
from rilbench.contracts.result import RunResult
from rilbench.store import temporary
from rilbench.store.files import read_json, write_json, write_text
from rilbench.store.results import load_result

SHORT = ("train.samples=4", "strategy=baseline")
OLD = time.time() - 24 * 3600


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A store of three runs: one reward, two that begin with it, and one of another learning rate."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.run(folder, *SHORT, "rewards=[red]")
    toy.run(folder, *SHORT, "rewards=[red,dark]")
    toy.run(folder, *SHORT, "rewards=[red]", "train.lr=0.01")
    return folder


@pytest.fixture
def place(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with a store that nothing changed lately; it is as before afterwards."""
    shutil.copytree(made / "runs", made / "kept")
    for path in (made / "runs").rglob("*"):
        os.utime(path, (OLD, OLD))
    monkeypatch.chdir(made)
    yield made
    shutil.rmtree(made / "runs")
    (made / "kept").rename(made / "runs")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """`rilbench runs ...` with its code, out and err."""

    def command(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["rilbench", "runs", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code or 0, out=out, err=err)

    return command


def folders(place: Path) -> dict[str, RunResult]:
    """The runs by what sets them apart."""
    found = [load_result(path.parent) for path in sorted(place.glob("runs/*/result.json"))]
    assert len(found) == 3
    two = next(run for run in found if len(run.rewards) == 2)
    slow = next(run for run in found if run.matrix.rows[1].stage_id != two.matrix.rows[1].stage_id)
    return {"two": two, "slow": slow, "one": next(run for run in found if run not in (two, slow))}


def stages(place: Path) -> set[str]:
    return {path.name for path in (place / "runs" / "stages").iterdir()}


@pytest.mark.slow
def test_list_says_what_is_there_and_in_what_it_differs(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    (place / "runs" / "begun").mkdir()
    write_json(place / "runs" / "begun" / "environment.json", {"packages": {}})
    found = {run["name"]: run for run in json.loads(runs("list", "--json").out)}
    by_kind = folders(place)
    assert len(found) == 4
    assert found["begun"]["status"] == "begun"
    two, slow = found[by_kind["two"].name], found[by_kind["slow"].name]
    assert (two["status"], two["stages"], two["rewards"], two["seed"]) == ("finished", "2 of 2", ["red", "dark"], 0)
    assert (two["differs"], slow["differs"]) == ({"train.lr": "0.05"}, {"train.lr": "0.01"})
    assert two["size"] > slow["size"] > 10_000
    shown = runs("list").out
    assert "train.lr 0.01" in shown.replace("\n", " ")


def test_show_is_a_run(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    run = folders(place)["two"]
    text = runs("show", run.name)
    assert text.code == 0
    assert all(row.stage_id in text.out for row in run.matrix.rows)
    assert "train.lr" in text.out
    told = json.loads(runs("show", f"runs/{run.name}", "--json").out)
    assert told["settings"]["train.lr"] == 0.05
    assert told["result"]["name"] == run.name
    assert runs("show", "nothing").code == 2


def test_remove_keeps_what_other_runs_need(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    by_kind, before = folders(place), stages(place)
    own = by_kind["two"].matrix.rows[2].stage_id
    dry = runs("remove", by_kind["two"].name, "--dry-run")
    assert f"runs/stages/{own}" in dry.out
    assert stages(place) == before
    assert runs("remove", by_kind["two"].name, "--yes").code == 0
    assert stages(place) == before - {own}
    assert not (place / "runs" / by_kind["two"].name).exists()
    for kind in ("one", "slow"):
        for row in by_kind[kind].matrix.rows:
            assert (place / "runs" / row.evaluation / "metrics.json").exists()
    assert runs("remove", by_kind["one"].name, by_kind["slow"].name, "-y").code == 0
    assert stages(place) == set()


def test_remove_asks(place: Path, runs, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("typer.confirm", lambda *a, **n: False)
    run = folders(place)["slow"]
    assert runs("remove", run.name).code == 1
    assert (place / "runs" / run.name / "result.json").exists()


def test_nothing_goes_that_another_process_works_on(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    run = folders(place)["slow"]
    stage = place / "runs" / "stages" / run.matrix.rows[1].stage_id
    with FileLock(stage / ".lock"):
        refused = runs("remove", run.name, "--yes")
        assert (refused.code, "another process" in refused.err) == (1, True)
        shutil.rmtree(place / "runs" / run.name)
        for path in (stage, *stage.rglob("*")):
            os.utime(path, (OLD, OLD))
        assert runs("clean", "--yes").out == ""
    assert runs("clean", "--yes").code == 0
    assert not stage.exists()


def test_clean_takes_what_nobody_needs(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    before = {path for path in place.glob("runs/**/*") if path.name != ".lock"}
    stage = place / "runs" / "stages" / folders(place)["one"].matrix.rows[1].stage_id
    of_dead = "0123456789abcdef.part"
    removable = [
        place / "runs" / f".export.{of_dead}",
        place / "runs" / folders(place)["one"].name / f".result.json.{of_dead}",
        stage / f".adapter_model.safetensors.{of_dead}",
        stage / "checkpoint.pt",
        place / "runs" / "stages" / "orphan" / "stage.json",
        stage / "evaluations" / "orphan" / "metrics.json",
    ]
    for path in removable:
        write_text(path, "x")
    for path in removable:
        for each in (path, path.parent):
            os.utime(each, (OLD - 60, OLD - 60))
    fresh = temporary.beside(place / "runs" / "new.json")
    fresh.touch()  # whose process may live
    done = runs("clean", "--dry-run")
    assert len(done.out.splitlines()) == len(removable)
    assert all(path.exists() for path in removable)
    assert runs("clean", "--yes").code == 0
    after = {path for path in place.glob("runs/**/*") if path.name != ".lock"}
    assert after == before | {fresh}


def test_stages_of_a_run_that_did_not_finish_stay(place: Path, runs) -> None:  # type: ignore[no-untyped-def]
    """By its plan; where there is none, all stages stay."""
    run, before = folders(place)["two"], stages(place)
    file = place / "runs" / run.name / "result.json"
    write_json(file, read_json(file) | {"status": "failed", "stages": []})
    assert runs("clean", "--yes").code == 0
    assert stages(place) == before
    (place / "runs" / run.name / "plan.json").unlink()
    assert runs("remove", folders_of(place, "slow"), "--yes").err.startswith("warning: stages are kept")
    assert stages(place) == before


def folders_of(place: Path, kind: str) -> str:
    """The name of the run with the other learning rate, by its settings."""
    assert kind == "slow"
    return next(path.parent.name for path in place.glob("runs/*/config.yaml") if "lr: 0.01" in path.read_text())


def test_a_store_with_runs_of_two_settings_is_compared(place: Path) -> None:
    comparison = compare(load_runs(["runs"], lambda source: []), rewards=["red"], warn=print)
    assert comparison.labels == ["baseline (lr 0.01)", "baseline (lr 0.05)"]
