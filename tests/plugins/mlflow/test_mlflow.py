"""The MLflow plugin against a real SQLite store, a dead server and one that never answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pluggy
import pytest
from filelock import FileLock
from PIL import Image

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.hooks import Hooks
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.store.files import write_json, write_text
from rilbench_mlflow import MlflowTracker, connection
from rilbench_mlflow.commands import check
from rilbench_mlflow.state import location
from rilbench_mlflow.upload import sync

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")

NAN = float("nan")
METRICS = (
    MetricInfo(name="red", higher_is_better=True, target_of=("red",)),
    MetricInfo(name="kb", higher_is_better=False, unit="kB"),
)
ROWS = (
    Row(label="base", stage_id="s0", evaluation="stages/s0/evaluations/e", values={"red": 1.0, "kb": 10.0}),
    Row(label="red", rewards=("red",), stage_id="s1", evaluation="stages/s1/evaluations/e", values={"red": 3.0}),
    Row(
        label="blue",
        rewards=("blue",),
        stage_id="s2",
        evaluation="stages/s2/evaluations/e",
        values={"red": 2.5, "kb": 12.0},
    ),
)
LOGS: dict[str, list[dict[str, Any]]] = {
    "s1": [{"update": 1, "loss": 0.5, "loss/reward": -1.0}, {"update": 2, "loss": 0.25, "gradient": None}],
    "s2": [{"update": 1, "loss": 0.75}, {"update": 2, "loss": 0.125}, {"update": 3, "loss": NAN}],
}
HISTORY = {  # metric: [(step, value)]; the base of red is 1, so that red is shown in hundredths
    "eval/red x100 - higher is better": [(0, 100.0), (1, 300.0), (2, 250.0)],
    "eval/kb kB - lower is better": [(0, 10.0), (2, 12.0)],
    "forgetting/red x100 - lower is better": [(2, 50.0)],
    "forgetting/kb kB - lower is better": [(2, 2.0)],
    "train/loss": [(1, 0.5), (2, 0.25), (3, 0.75), (4, 0.125)],
    "train/loss/reward": [(1, -1.0)],
    "start/red x100 - higher is better": [(0, 100.0)],
    "start/kb kB - lower is better": [(0, 10.0)],
    "final/red x100 - higher is better": [(0, 250.0)],
    "final/kb kB - lower is better": [(0, 12.0)],
    "final_forgetting/red x100 - lower is better": [(0, 50.0)],
    "final_forgetting/kb kB - lower is better": [(0, 2.0)],
    "gain/red x100 - higher is better": [(0, 150.0)],
}


def a_result(rows: int = 3, status: str = "finished") -> RunResult:
    matrix = ResultMatrix(ROWS[:rows], METRICS)
    return RunResult(
        name="toy",
        strategy="rid",
        rewards=("red", "blue"),
        seed=7,
        matrix=matrix,
        status=status,
        command="rilbench run",
        plugins={"strategy/rid": "rilbench 0.1.0", "reward/blue": "my-blue 2.0"},
    )


def a_folder(place: Path, result: RunResult) -> Path:
    """What the engine leaves on the disk."""
    store = place / "runs"
    folder = store / "toy"
    write_json(folder / "result.json", result.to_json())
    write_json(folder / "environment.json", {"commit": "abc+", "packages": {"rilbench": "0.1.0"}})
    write_text(folder / "config.yaml", "seed: 7\n")
    write_text(folder / "table.md", "| a |\n")
    Image.new("RGB", (4, 4)).save(folder / "samples.png")
    for row in ROWS:
        write_json(store / row.evaluation / "metrics.json", {})
        Image.new("RGB", (2, 2)).save(store / row.evaluation / "sample-0.png")
        other = store / "stages" / row.stage_id / "evaluations" / "other"
        other.mkdir()
        Image.new("RGB", (2, 2)).save(other / "sample-9.png")
    for stage_id, log in LOGS.items():
        write_json(store / "stages" / stage_id / "stage.json", {"seconds": 1.0, "log": log})
    return folder


def a_client(place: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{place / 'mlflow.db'}")


def runs(place: Path) -> list[Any]:
    client = a_client(place)
    experiment = client.get_experiment_by_name("rilbench")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def history(place: Path, run: Any) -> dict[str, list[tuple[int, float]]]:
    client, run_id = a_client(place), run.info.run_id
    return {k: sorted((m.step, m.value) for m in client.get_metric_history(run_id, k)) for k in run.data.metrics}


def artifacts(place: Path, run: Any, path: str | None = None) -> set[str]:
    found: set[str] = set()
    for item in a_client(place).list_artifacts(run.info.run_id, path):
        found |= artifacts(place, run, item.path) if item.is_dir else {item.path}
    return found


@pytest.mark.slow
def test_everything_of_a_finished_run_is_sent_once(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = a_folder(place, a_result())
    line = sync(folder)
    assert sync(folder) == line == location(folder)
    assert line == f"run toy in sqlite:///{place}/mlflow.db (rilbench ui opens it)"
    (run,) = runs(place)
    assert history(place, run) == HISTORY
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "toy"
    assert run.data.params == {"strategy": "rid", "rewards": "red > blue", "seed": "7"}
    assert run.data.tags["rilbench.commit"] == "abc+"
    assert run.data.tags["rilbench.command"] == "rilbench run"
    assert run.data.tags["rilbench.plugins"] == "reward/blue = my-blue 2.0; strategy/rid = rilbench 0.1.0"
    assert run.data.tags["mlflow.note.content"] == "| a |\n"
    files = {"config.yaml", "environment.json", "result.json", "table.md", "samples.png"}
    pictures = artifacts(place, run) - files
    assert files < artifacts(place, run)
    named = {f"pictures after each stage~1+step+{i}" for i in range(3)} | {"pictures after the last stage~1+step+0"}
    assert {path.removeprefix("images/").partition("+timestamp")[0] for path in pictures} == named
    assert run.info.artifact_uri.startswith((place / "mlartifacts").as_uri())
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_training_points_carry_the_time_of_the_update(place: Path) -> None:
    folder = a_folder(place, a_result())
    sync(folder)
    (run,) = runs(place)
    first, second, *_ = sorted(a_client(place).get_metric_history(run.info.run_id, "train/loss"), key=lambda m: m.step)
    written = int((place / "runs/stages/s1/stage.json").stat().st_mtime * 1000)
    assert (first.timestamp, second.timestamp) == (written - 500, written)


@pytest.mark.slow
def test_a_stage_cut_off_half_way_is_sent_again_without_double_points(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rilbench_mlflow import pictures

    folder = a_folder(place, a_result())
    with monkeypatch.context() as broken:
        broken.setattr(pictures, "write", lambda *_: 1 / 0)
        with pytest.raises(RilbenchError, match="division by zero"):
            sync(folder)
    assert runs(place)[0].data.tags["rilbench.rows"] == "0"
    assert "incomplete" in (location(folder) or "")
    sync(folder)
    (run,) = runs(place)
    assert history(place, run) == HISTORY


@pytest.mark.slow
def test_hooks_send_stage_by_stage_and_a_repeated_run_sends_nothing(
    place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_folder(place, a_result())
    play(MlflowTracker(), folder)
    (run,) = runs(place)
    assert (run.info.status, history(place, run)) == ("FINISHED", HISTORY)
    monkeypatch.setattr("rilbench_mlflow.tracker.send", lambda *_: pytest.fail("sent again"))
    play(MlflowTracker(), folder)
    assert capfd.readouterr() == ("", "")


def play(tracker: MlflowTracker, folder: Path) -> None:
    """The hook calls of a run that finishes."""
    tracker.run_started(folder=folder, result=a_result(0, "running"))
    for i in range(3):
        tracker.stage_finished(folder=folder, result=a_result(i + 1, "running"))
    tracker.run_finished(folder=folder, result=a_result())


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [(ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_stopped_run_is_not_left_running_and_can_go_on(place: Path, error: BaseException, status: str) -> None:
    folder = a_folder(place, a_result(2, "running"))
    tracker = MlflowTracker()
    tracker.stage_finished(folder=folder, result=a_result(2, "running"))
    tracker.run_failed(folder=folder, result=a_result(2, "failed"), error=error)
    assert [run.info.status for run in runs(place)] == [status]
    play(MlflowTracker(), folder)
    (run,) = runs(place)
    assert (run.info.status, history(place, run)) == ("FINISHED", HISTORY)


@pytest.mark.slow
def test_a_killed_run_sent_afterwards_is_not_left_running(place: Path) -> None:
    sync(a_folder(place, a_result(2, "running")))
    assert [run.info.status for run in runs(place)] == ["KILLED"]


@pytest.mark.slow
def test_a_run_deleted_from_the_server_is_sent_anew(place: Path) -> None:
    folder = a_folder(place, a_result())
    sync(folder)
    (first,) = runs(place)
    a_client(place).delete_run(first.info.run_id)
    sync(folder)
    (second,) = runs(place)
    assert second.info.run_id != first.info.run_id
    assert history(place, second) == HISTORY


@pytest.mark.slow
def test_another_address_gets_its_own_run(place: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_folder(place, a_result())
    sync(folder)
    other = place / "other"
    other.mkdir()
    shutil.copy(migrated, other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert f"sqlite:///{other}/mlflow.db" in sync(folder)
    experiment = a_client(other).get_experiment_by_name("mine")
    assert len(a_client(other).search_runs([experiment.experiment_id])) == 1


@pytest.fixture(params=["closed", "silent"])
def dead(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a port nobody listens on, or of a server that takes connections and never answers."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "silent":
            server.listen()
        yield f"http://somebody:secret@127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_a_dead_server_costs_seconds_and_one_warning(
    place: Path, dead: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "PROBE_SECONDS", 0.2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dead)
    folder = a_folder(place, a_result())
    start = time.perf_counter()
    play(MlflowTracker(), folder)
    assert time.perf_counter() - start < 10
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("warning:") == err.count("\n") == 1
    assert f"rilbench upload {folder}" in err
    assert "secret" not in err
    assert location(folder) is None
    with pytest.raises(RilbenchError, match="no answer"):
        sync(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    sync(folder)
    (run,) = runs(place)
    assert (run.info.status, history(place, run)) == ("FINISHED", HISTORY)


@pytest.mark.slow
def test_work_that_does_not_end_is_given_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    end = threading.Event()
    monkeypatch.setattr("rilbench_mlflow.tracker.send", lambda *_: end.wait(60) and 1 / 0)
    monkeypatch.setattr("rilbench_mlflow.tracker.WAIT_SECONDS", 0.1)
    tracker = MlflowTracker()
    play(tracker, a_folder(place, a_result()))
    assert not end.is_set()
    assert "not done after 0.1 s" in capfd.readouterr().err
    end.set()
    assert tracker.worker.finish(60), "a thread left over would send this run into the next test's database"


@pytest.mark.slow
def test_a_run_that_another_process_is_sending_is_left_to_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = a_folder(place, a_result())
    with FileLock(folder / ".mlflow.lock"), monkeypatch.context() as short:
        short.setattr("rilbench_mlflow.tracker.WAIT_SECONDS", 4)  # half of them for the lock
        play(MlflowTracker(), folder)
        assert "another process is sending it" in capfd.readouterr().err
        assert "its process sends it" in sync(folder)
        assert runs(place) == []
    play(MlflowTracker(), folder)
    (run,) = runs(place)
    assert (run.info.status, history(place, run)) == ("FINISHED", HISTORY)


def test_the_hooks_fit_their_specification() -> None:
    manager = pluggy.PluginManager("rilbench")
    manager.add_hookspecs(Hooks)
    manager.register(MlflowTracker())
    manager.check_pending()
    for hook in ("run_started", "stage_finished", "run_finished", "run_failed", "study_finished", "find_runs"):
        assert getattr(manager.hook, hook).get_hookimpls(), hook


@pytest.mark.slow
def test_loading_the_plugin_imports_neither_mlflow_nor_torch() -> None:
    check = "import sys, rilbench_mlflow.commands; print({'mlflow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.slow
def test_the_ui_says_when_there_is_nothing_to_show(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RilbenchError, match="cannot use port"):
            check(taken.getsockname()[1])
    (place / "mlflow.db").unlink()
    with pytest.raises(RilbenchError, match="rilbench run"):
        check(5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example")
    with pytest.raises(RilbenchError, match=r"on https://tracking\.example "):
        check(5000)
