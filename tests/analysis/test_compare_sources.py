"""Where `rilbench compare` finds runs, and what it says about those it leaves out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from stores import BACKWARDS, save

from rilbench.analysis.sources import load_runs
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.result import RunResult
from rilbench.store.results import load_result

ADDRESS = "http://127.0.0.1:5000/#/experiments/1"


def load(*sources: Path | str, answers: dict[str, list[RunResult]] | None = None) -> tuple[list[RunResult], list[str]]:
    """Runs and warnings."""
    heard: list[str] = []
    runs = load_runs([str(s) for s in sources], lambda source: (answers or {}).get(source, []), warn=heard.append)
    return runs, heard


def names(runs: list[RunResult]) -> list[str]:
    return [run.name for run in runs]


def study(folder: Path, runs: object) -> Path:
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps({"runs": runs}))
    return folder


def test_a_run_a_store_and_a_study(tmp_path: Path) -> None:
    one, two, three = (save(tmp_path, "rid", seed=seed) for seed in range(3))
    chosen = study(tmp_path / "study-a", [three.name, one.name])
    assert load(two) == ([load_result(two)], [])
    assert names(load(tmp_path)[0]) == [one.name, two.name, three.name]
    assert names(load(chosen)[0]) == [three.name, one.name]
    assert [run.folder for run in load(tmp_path)[0]] == [one, two, three]


def test_a_run_found_twice_counts_once(tmp_path: Path) -> None:
    one = save(tmp_path, "rid")
    two = save(tmp_path, "rid", BACKWARDS)
    elsewhere = replace(load_result(one), folder=None)
    runs, heard = load(ADDRESS, one, tmp_path, study(tmp_path / "s", [two.name]), answers={ADDRESS: [elsewhere]})
    assert names(runs) == [one.name, two.name]
    assert runs[0].folder == one  # the one with scores
    assert heard == []


def test_a_copied_store_is_the_same_runs(tmp_path: Path) -> None:
    save(tmp_path / "a", "rid")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert len(load(tmp_path / "a", tmp_path / "b")[0]) == 1


def test_an_address_is_given_to_the_plugins(tmp_path: Path) -> None:
    run = replace(load_result(save(tmp_path, "rid")), folder=None)
    assert load(ADDRESS, answers={ADDRESS: [run]}) == ([run], [])
    (tmp_path / "mlruns").mkdir()  # a folder that is no store may be a plugin's
    assert load(tmp_path / "mlruns", answers={str(tmp_path / "mlruns"): [run]}) == ([run], [])


def test_unfinished_and_unreadable_runs_are_named_in_one_line(tmp_path: Path) -> None:
    done = save(tmp_path, "rid")
    save(tmp_path, "rid", seed=1, status="failed")
    damaged = save(tmp_path, "rid", seed=2) / "result.json"
    damaged.write_text(damaged.read_text()[:200])
    other = save(tmp_path, "rid", seed=3) / "result.json"
    other.write_text(json.dumps({"schema": 1, "stages": 3}))
    (tmp_path / "rid-begun").mkdir()
    (tmp_path / "rid-begun" / "environment.json").write_text("{}")
    runs, heard = load(tmp_path)
    assert names(runs) == [done.name]
    (text,) = heard
    begun, broken = text.split("; 2 of 5 runs cannot be read")
    assert begun.startswith("2 of 5 runs are not finished")
    assert "rid-aesthetic-hps-compressibility-seed1, rid-begun" in begun
    assert f"{damaged} is damaged: " in broken
    assert f"{other} is damaged" in text


def test_many_unfinished_runs_are_counted(tmp_path: Path) -> None:
    one = save(tmp_path, "rid")
    names = [one.name, *(f"rid-{i}" for i in range(20))]
    runs, heard = load(study(tmp_path / "s", names), tmp_path)
    (text,) = heard
    assert len(runs) == 1
    assert text.startswith("20 of 21 runs are not finished")
    assert ": rid-0, rid-1, rid-2 and 17 more" in text


@pytest.mark.parametrize("runs", [None, "rid", [1], {}])
def test_a_damaged_study_is_an_error(tmp_path: Path, runs: object) -> None:
    with pytest.raises(ConfigError, match=r's/study.json: "runs" is not a list'):
        load(study(tmp_path / "s", runs))


def test_nothing_found_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "missing", ADDRESS):
        with pytest.raises(UsageError, match="no runs at"):
            load(save(tmp_path / "store", "rid"), source)
    with pytest.raises(UsageError, match="no finished run at"):
        load(save(tmp_path / "other", "rid", status="running"))


def test_warnings_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, "rid")
    save(tmp_path, "rid", seed=1, status="running")
    load_runs([str(tmp_path)], lambda source: [])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "warning: 1 of 2 runs are not finished" in printed.err
    assert ": rid-aesthetic-hps-compressibility-seed1;" in printed.err
