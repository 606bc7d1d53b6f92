"""What every tracker sends and when, with one that notes it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import toy

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.progress import Picture
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host.hook_caller import HookCaller
from rilbench.tracking import Cells, Tracker
from rilbench.training.stage import StageTraining

sent: list[tuple[str, Any, int]] = []
SHORT = (
    "train.validate_every=2",
    "train.validate_images=1",
    "evaluate.images_per_prompt=1",
    "train.checkpoint_every=2",
)


class Notes(Tracker):
    """Notes what it is told."""

    name, library = "notes", "json"

    def begin(self, folder: Path, result: RunResult, settings: Mapping[str, Any]) -> None:
        sent.append(("continued" if self.sent.run else "begun", settings.get("train.lr"), 0))
        self.sent.run = "7"

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        sent.extend((key, value, step) for key, value in values.items())

    def pictures(self, section: str, pictures: Sequence[Picture], step: int) -> None:
        assert all(picture.path.exists() for picture in pictures)
        sent.append((f"{section}/pictures", [picture.prompt for picture in pictures], step))

    def table(self, result: RunResult, columns: Sequence[str], rows: Cells, step: int) -> None:
        sent.append(("table", [columns[0], *(row[0] for row in rows)], step))

    def end(self, *, failed: bool) -> None:
        sent.append(("failed" if failed else "finished", None, 0))

    def where(self, folder: Path) -> str:
        return "here"


class Uninstalled(Notes):
    name, library = "uninstalled", "no_such_library"


def tracked(workplace: Path, *overrides: str, trackers: str = "notes") -> engine.Outcome:
    catalog = toy.catalog(
        *(EntryPoint(c.name, f"test_tracking:{c.__name__}", "rilbench.hooks") for c in (Notes, Uninstalled))
    )
    config = toy.config(workplace, *SHORT, "tracking=true", f"trackers={trackers}", *overrides)
    return engine.run(config, catalog=catalog, reporter=Reporter(quiet=True))


def curve(key: str) -> list[tuple[int, Any]]:
    return [(step, value) for name, value, step in sent if name == key]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    sent.clear()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> tuple[Path, list[tuple[str, Any, int]]]:
    """A working folder with a tracked run, and what was sent of it."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(pipeline, folder / "pipeline")
    sent.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
        assert tracked(folder).summary == {"notes": "here"}
    return folder, list(sent)


Whole = tuple[Path, list[tuple[str, Any, int]]]


@pytest.mark.slow
def test_everything_is_sent_once_on_one_axis(whole: Whole) -> None:
    sent.extend(whole[1])
    assert sent[0] == ("begun", 0.05, 0)
    assert sent[-1] == ("finished", None, 0)
    assert [step for step, _ in curve("train/loss")] == list(range(1, 9))
    assert [step for step, _ in curve("train/images_per_second")] == list(range(1, 9))
    assert [step for step, _ in curve("validate/red")] == [2, 4, 6, 8]
    assert [step for step, _ in curve("validate/pictures")] == [2, 4, 6, 8]
    assert [step for step, _ in curve("eval/red")] == [0, 4, 8]
    assert [step for step, _ in curve("forgetting/red")] == [8]
    assert curve("eval/pictures") == [(step, ["a red circle", "a blue square"]) for step in (0, 4, 8)]
    assert curve("table")[-1] == (8, ["stage", "base", "red", "dark"])


@pytest.mark.slow
def test_a_repeated_run_sends_nothing_and_one_that_the_store_has_sends_its_curves(whole: Whole) -> None:
    folder, told = whole
    tracked(folder)
    assert not sent
    (file,) = (folder / "runs").glob("rid-*/notes.json")
    file.unlink()
    tracked(folder)
    live = ("train/lr", "train/images_per_second", "train/seconds_left", "train/memory_gb", "validate/pictures")
    assert sorted(map(str, sent)) == sorted(str(each) for each in told if each[0] not in live)


@pytest.mark.slow
def test_an_interrupted_run_is_continued(whole: Whole, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = StageTraining.update

    def stop(self: StageTraining, number: int, *arguments: Any) -> dict[str, float]:
        if self.index == 2 and number == 3:
            raise KeyboardInterrupt
        return update(self, number, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(StageTraining, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            tracked(workplace)
    assert sent[-1][0] == "failed"
    tracked(workplace)
    assert [name for name, *_ in sent if name in ("begun", "continued", "finished")] == [
        "begun",
        "continued",
        "finished",
    ]
    again = list(sent)
    for key in ("train/loss", "validate/red", "validate/pictures", "eval/red", "table"):
        sent[:] = again
        continued = curve(key)
        sent[:] = whole[1]
        assert continued == curve(key), key


def test_forgetting_is_sent_of_the_columns_of_tables_only(tmp_path: Path) -> None:
    names = ("red", "red@train", "red@blur")
    rows = [Row(label="base", stage_id="s0"), Row(label="red", rewards=("red",), stage_id="s1")]
    rows = [replace(row, values=dict.fromkeys(names, 1.0)) for row in (*rows, Row(label="dark", stage_id="s2"))]
    metrics = tuple(MetricInfo(name=name, higher_is_better=True) for name in names)
    matrix = ResultMatrix(tuple(rows), metrics)
    result = RunResult(name="toy", strategy="rid", rewards=("red",), seed=0, matrix=matrix)
    notes = Notes()
    notes.open, notes.sent.rows = True, 2
    (tmp_path / "runs" / "toy").mkdir(parents=True)
    notes.stage_finished(tmp_path / "runs" / "toy", result, 2)
    assert {key for key, *_ in sent if key.startswith("forgetting/")} == {"forgetting/red"}
    assert {key for key, *_ in sent if key.startswith("eval/r")} == {f"eval/{name}" for name in names}


def test_a_tracker_is_used_only_if_it_is_named(workplace: Path) -> None:
    catalog = toy.catalog(EntryPoint("notes", "test_tracking:Notes", "rilbench.hooks"))
    assert "notes" not in HookCaller(catalog, pytest.fail).plugins
    assert "notes" in HookCaller(catalog, pytest.fail, named=["notes"]).plugins
    with pytest.raises(ConfigError, match=r"'nots'.*Did you mean 'notes'"):
        HookCaller(catalog, pytest.fail, named=["nots"])
    with pytest.raises(ConfigError, match=r"^trackers: no_such_library is not installed; pip install 'rilbench\[no_"):
        tracked(workplace, trackers="uninstalled")
