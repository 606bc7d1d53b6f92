"""The JSON lines that a run leaves, also when it is repeated, stopped, killed or fails."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import toy

import rilbench_jsonl
from rilbench.contracts.errors import DivergedError
from rilbench.contracts.progress import Progress
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.store.files import write_json
from rilbench_jsonl import JsonLog

UPDATES = 4  # a stage of `toy.config`
STAGE = [("update", i + 1) for i in range(UPDATES)] + [("stage_finished", None)]


def run(workplace: Path, *overrides: str) -> Path:
    """The folder of a tracked run without MLflow; nothing is said about the log."""
    warned: list[str] = []
    reporter = Reporter(quiet=True)
    reporter.warn = warned.append  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow")
        config = toy.config(workplace, "tracking=true", *overrides)
        folder = engine.run(config, catalog=toy.catalog(), reporter=reporter, command="rilbench run")[0]
    assert not [line for line in warned if "jsonl" in line]
    assert not (folder / "mlflow.json").exists()
    return folder


@pytest.fixture(scope="module")
def finished(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of rid on red, then dark."""
    place = tmp_path_factory.mktemp("finished")
    (place / "pipeline").symlink_to(pipeline, target_is_directory=True)
    return run(place)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "log.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def events(log: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    return [(line["event"], line.get("update")) for line in log]


@pytest.mark.slow
def test_a_run_logs_every_event_in_order_with_the_numbers_of_its_result(finished: Path) -> None:
    log, result = lines(finished), json.loads((finished / "result.json").read_text())
    assert events(log) == [("run_started", None), ("stage_finished", None), *STAGE, *STAGE, ("run_finished", None)]
    assert {line["run"] for line in log} == {result["name"]}
    times = [datetime.fromisoformat(line["time"]) for line in log]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)

    started, *_, ended = log
    for key in ("strategy", "rewards", "seed", "command", "plugins"):
        assert started[key] == result[key]
    stages = [line for line in log if line["event"] == "stage_finished"]
    for stage, (line, row) in enumerate(zip(stages, result["stages"], strict=True)):
        assert line["stage"] == stage
        for key in ("label", "rewards", "values", "forgetting", "train_seconds", "evaluate_seconds"):
            assert line[key] == row[key]
    assert "red" in stages[2]["forgetting"]
    assert "dark" not in stages[2]["forgetting"]  # just trained
    assert ended["values"] == result["stages"][-1]["values"]
    assert ended["forgetting"] == result["forgetting"]


@pytest.mark.slow
def test_updates_are_those_of_the_stage(finished: Path) -> None:
    stages = json.loads((finished / "result.json").read_text())["stages"]
    updates = [line for line in lines(finished) if line["event"] == "update"]
    for stage, label in ((1, "red"), (2, "dark")):
        trained = json.loads((finished.parent / "stages" / stages[stage]["stage_id"] / "stage.json").read_text())["log"]
        logged = [line for line in updates if line["stage"] == stage]
        told = [{"update": line["update"], **line["values"]} for line in logged]
        assert [{key: line[key] for key in entry} for line, entry in zip(told, trained, strict=True)] == trained
        assert all(line.keys() >= {"lr", "images_per_second", "seconds_left", "memory_gb"} for line in told)
        assert [line["step"] for line in logged] == [UPDATES * (stage - 1) + i for i in range(1, UPDATES + 1)]
        assert {line["label"] for line in logged} == {label}


@pytest.mark.slow
def test_a_repeated_run_adds_no_stage(finished: Path) -> None:
    first = (finished / "log.jsonl").read_bytes()
    try:
        assert run(finished.parent.parent) == finished
        again = (finished / "log.jsonl").read_bytes()
        assert again.startswith(first)
        assert events(lines(finished)[len(first.splitlines()) :]) == [("run_started", None), ("run_finished", None)]
    finally:
        (finished / "log.jsonl").write_bytes(first)  # other tests read it


@pytest.mark.slow
def test_a_failed_run_says_why_and_how_far_it_came(workplace: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        run(workplace, "rewards=[red,nan]")
    (folder,) = (workplace / "runs").glob("rid-*")
    log = lines(folder)
    assert events(log) == [("run_started", None), ("stage_finished", None), *STAGE, ("run_failed", None)]
    assert (log[-1]["error"], log[-1]["message"]) == ("DivergedError", str(caught.value))
    assert log[-1]["stages"] == 2


METRICS = (MetricInfo(name="red", higher_is_better=True, target_of=("red",)),)
ROWS = (Row(label="base", values={"red": 1.0}), Row(label="red", rewards=("red",), stage_id="s1", values={"red": 3.0}))


def a_result(rows: int) -> RunResult:
    matrix = ResultMatrix(ROWS[:rows], METRICS)
    return RunResult(name="toy", strategy="rid", rewards=("red",), seed=0, matrix=matrix)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run whose stage 1 has two updates, one of them not finite."""
    log = [{"update": 1, "loss": 0.5}, {"update": 2, "loss": float("nan")}]
    write_json(tmp_path / "stages" / "s1" / "stage.json", {"seconds": 1.0, "log": log})
    (tmp_path / "toy").mkdir()
    return tmp_path / "toy"


PLAYED = [("stage_finished", None), ("update", 1), ("update", 2), ("stage_finished", None)]


def play(folder: Path) -> None:
    JsonLog().stage_finished(folder, a_result(1), 0)
    JsonLog().stage_finished(folder, a_result(2), 1)


def test_a_log_cut_anywhere_is_completed(folder: Path) -> None:
    """As after kill -9 or on a full disk; the half line is replaced, the whole ones stay."""
    play(folder)
    file = folder / "log.jsonl"
    whole = file.read_bytes()
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        play(folder)
        assert events(lines(folder)) == PLAYED
        assert file.read_bytes().startswith(whole[: whole[:size].rfind(b"\n") + 1])


def test_a_line_that_is_no_json_is_left_alone(folder: Path) -> None:
    file = folder / "log.jsonl"
    file.write_bytes(b"# \xff a note\n3\n")
    play(folder)
    play(folder)
    note, number, *rest = file.read_bytes().splitlines()
    assert (note, number) == (b"# \xff a note", b"3")
    assert events([json.loads(line) for line in rest]) == PLAYED


def test_numbers_that_are_not_finite_become_null(folder: Path) -> None:
    play(folder)
    first, second = (line["values"] for line in lines(folder) if line["event"] == "update")
    assert (first, second) == ({"loss": 0.5}, {"loss": None})


def test_two_that_log_the_same_run_do_not_mix(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: play(folder), range(8)))
    log = lines(folder)
    assert sorted(map(str, events(log))) == sorted(map(str, PLAYED))


def test_a_log_is_read_on_from_where_it_was_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of other processes included; all of it after it was replaced."""
    parsed: list[bytes] = []

    def key(line: bytes, key: Callable[[bytes], Any] = rilbench_jsonl._key) -> Any:
        parsed.append(line)
        return key(line)

    def update(plugin: JsonLog, number: int) -> None:
        values = {"loss": float(number)}
        progress = Progress(stage=1, label="red", update=number, updates=9, step=number, values=values)
        plugin.update_finished(folder, a_result(1), progress)

    monkeypatch.setattr(rilbench_jsonl, "SECONDS", 0.0)
    mine, file = JsonLog(), folder / "log.jsonl"
    for number in range(1, 5):
        update(mine, number)
    update(JsonLog(), 5)
    monkeypatch.setattr(rilbench_jsonl, "_key", key)
    update(mine, 5)
    assert {json.loads(line)["update"] for line in parsed} == {5}
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:3]))
    for number in range(1, 6):
        update(mine, number)
    assert [line["update"] for line in lines(folder)] == [2, 3, 1, 4, 5]


def test_an_interruption_without_a_message_is_named(folder: Path) -> None:
    JsonLog().run_failed(folder, a_result(0), KeyboardInterrupt())
    (line,) = lines(folder)
    assert (line["event"], line["error"], line["message"], line["stages"]) == ("run_failed", "KeyboardInterrupt", "", 0)


def test_a_full_disk_is_an_error_and_can_be_mended(folder: Path) -> None:
    """The engine reports it and leaves the log out for the rest of the run; the next attempt completes the log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # in the middle of a line
        with pytest.raises(OSError, match="File too large"):
            play(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (folder / "log.jsonl").stat().st_size == 300
    play(folder)
    assert events(lines(folder)) == PLAYED


def test_loading_the_plugin_does_not_import_torch() -> None:
    check = "import sys, rilbench_jsonl; print({'torch', 'mlflow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
