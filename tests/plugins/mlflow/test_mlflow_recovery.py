"""What is left of kills and full disks, and addresses and experiments that a user gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_runs import write_run

from rilbench.contracts.errors import RilbenchError
from rilbench.store.results import load_result
from rilbench_mlflow import MlflowTracker, connection
from rilbench_mlflow.address import absolute
from rilbench_mlflow.address import database as file_of
from rilbench_mlflow.sending import reconcile
from rilbench_mlflow.state import load
from rilbench_mlflow.upload import sync

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


def client(place: Path):  # type: ignore[no-untyped-def]
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{place / 'mlflow.db'}")


@pytest.mark.slow
def test_a_database_is_there_whole_or_not_at_all(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, artifacts: str) -> None:
        file.write_bytes(b"half")
        raise OSError("database or disk is full")

    file = tmp_path / "mlflow.db"
    monkeypatch.setattr(connection, "migrate", full)
    with pytest.raises(RilbenchError, match=r"cannot write .*mlflow\.db: database or disk is full"):
        connection.ensure(file)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(connection, "migrate", lambda file, artifacts: shutil.copy(migrated, file))
    connection.ensure(file)
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_sqlalchemy_reads_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "q?x=1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert file_of("sqlite:///x.db?timeout=60") == folder / "x.db"
    address = absolute("sqlite:///x.db?timeout=60")
    assert address.endswith("?timeout=60")
    assert (file_of(address), absolute(address)) == (folder / "x.db", address)
    assert file_of("sqlite://") is file_of("http://host/x.db") is None


@pytest.mark.slow
def test_a_finished_run_whose_repetition_is_stopped_stays_finished(place: Path) -> None:
    folder = write_run(place / "runs", "rid")
    tracker, result = MlflowTracker(), load_result(folder)
    tracker.run_started(folder=folder, result=result)
    tracker.run_failed(folder=folder, result=result, error=KeyboardInterrupt())
    assert client(place).get_run(load(folder).run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_a_store_puts_right_what_mlflow_has(place: Path) -> None:
    first, second, third = (write_run(place / "runs", "rid", seed) for seed in range(3))
    for folder in (first, second, third):
        sync(folder)
    mlflow = client(place)
    mlflow.update_run(load(first).run_id, "RUNNING")
    mlflow.delete_run(load(second).run_id)
    assert reconcile(place / "runs", pytest.fail) == [first.name, second.name]
    assert reconcile(place / "runs", pytest.fail) == []
    found = [mlflow.get_run(load(folder).run_id).info for folder in (first, second, third)]
    assert [(run.status, run.lifecycle_stage) for run in found] == [("FINISHED", "active")] * 3
    history = mlflow.get_metric_history(load(first).run_id, "eval/kb kB - lower is better")
    assert sorted(metric.step for metric in history) == [0, 1, 2], "no point is there twice"


@pytest.mark.slow
def test_a_run_that_cannot_be_sent_is_warned_of_and_does_not_stop_the_others(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, linked, good, last = (write_run(place / "runs", "rid", seed) for seed in range(4))
    for folder in (linked, good):
        sync(folder)
        client(place).delete_run(load(folder).run_id)
    (bad / "config.yaml").write_text("[tracking]\n")
    (linked / "config.yaml").rename(place / "config.yaml")
    (linked / "config.yaml").symlink_to(place / "config.yaml")
    tracker, result = MlflowTracker(), load_result(last)
    tracker.run_started(folder=last, result=result)
    tracker.run_finished(folder=last, result=result)
    assert client(place).get_run(load(good).run_id).info.lifecycle_stage == "active"
    said = capsys.readouterr().err
    assert said.count(f"{bad} was not sent to MLflow: {bad}/config.yaml is damaged") == 1
    assert said.count(f"{linked} was not sent to MLflow: {linked}/config.yaml is a link out of the store") == 1


@pytest.mark.slow
def test_the_experiment_is_the_one_of_the_id_and_a_deleted_one_comes_back_as_advised(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner
    from mlflow.experiments import commands

    number = client(place).create_experiment("mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    folder = write_run(place / "runs", "rid")
    sync(folder)
    assert load(folder).experiment_id == number
    client(place).delete_experiment(number)
    with pytest.raises(
        RilbenchError, match=f"mlflow experiments restore --experiment-id {number}` restores it"
    ) as error:
        sync(folder)
    address = str(error.value).partition("MLFLOW_TRACKING_URI=")[2].split()[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    done = CliRunner().invoke(commands, ["restore", "--experiment-id", number])
    assert done.exit_code == 0, done.output
    sync(folder)
    assert client(place).get_run(load(folder).run_id).info.experiment_id == number
