"""A finished run that is repeated: its result is never replaced by less, and what is missing is made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import toy
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.functional import pil_to_tensor

from rilbench import hookimpl
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.store.results import load_result
from rilbench.training import stage as trainer
from rilbench_release import foreign

SHORT = ("rewards=[red]", "train.samples=4")


class Loud(Reporter):
    """Keeps its warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Diary:
    """A hook plugin that notes what it is told of failures."""

    told: ClassVar[list[tuple[str, int]]] = []

    @hookimpl
    def run_failed(self, result: RunResult) -> None:
        self.told.append((result.status, len(result.matrix.rows)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A working folder with a finished run, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.run(folder, *SHORT)
    return folder


@pytest.fixture
def place(finished: Path) -> Iterator[Path]:
    """The same folder, since runs name it; afterwards its store is as it was."""
    shutil.copytree(finished / "runs", finished / "kept")
    yield finished
    shutil.rmtree(finished / "runs")
    (finished / "kept").rename(finished / "runs")


def files(folder: Path) -> dict[str, bytes]:
    """Every file of the store but locks."""
    found = (path for path in (folder / "runs").rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def repeat(folder: Path, *overrides: str, **named: Any) -> tuple[RunResult, list[str]]:
    reporter = Loud()
    config = toy.config(folder, *SHORT, *overrides)
    return engine.run(config, catalog=toy.catalog(), reporter=reporter, **named).result, reporter.warnings


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, RilbenchError, OSError])
def test_a_failure_while_a_finished_run_is_repeated_leaves_its_result(
    place: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    before = files(place)

    def stop(*arguments: object) -> None:
        raise error("stopped")

    monkeypatch.setattr("rilbench.engine.session.Session.row", stop)
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    monkeypatch.setattr(Diary, "told", [])
    hook = EntryPoint("diary", "test_kept:Diary", "rilbench.hooks")
    config = toy.config(place, *SHORT, "tracking=true")
    with pytest.raises(error):
        engine.run(config, catalog=toy.catalog(hook), reporter=Reporter(quiet=True))
    assert files(place) == before
    assert Diary.told == [("finished", 2)]


def test_a_repetition_writes_nothing(place: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (place / "runs").rglob("*") if path.is_file()}
    _, warnings = repeat(place, command="rilbench run --otherwise")
    assert {path: path.stat().st_mtime_ns for path in (place / "runs").rglob("*") if path.is_file()} == before
    assert warnings == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "again"),
    [
        ("rid-*/result.json", True),
        ("rid-*/config.yaml", True),
        ("rid-*/environment.json", True),
        ("rid-*/table.md", True),
        ("rid-*/samples.png", True),
        ("stages/*/evaluations/*/sample-1.png", True),
        ("stages/*/evaluations/*/scores.safetensors", True),
        ("stages/*/evaluations/*/metrics.json", False),  # another duration
        ("stages/*/adapter_config.json", True),
        ("stages/*/adapter_model.safetensors", True),
        ("stages/*/stage.json", False),  # without curves
    ],
)
def test_what_is_missing_is_made_again(place: Path, pattern: str, again: bool) -> None:
    before, gone = files(place), list((place / "runs").glob(pattern))
    (folder,) = (place / "runs").glob("rid-*")
    first = load_result(folder)
    for path in gone:
        path.unlink()
    result, _ = repeat(place)
    assert gone
    assert [row.values for row in result.matrix.rows] == [row.values for row in first.matrix.rows]
    assert load_result(folder) == result
    after = files(place)
    assert after.keys() == before.keys()
    for path in gone if again else ():
        name = str(path.relative_to(place))
        if name.endswith(".json") and "adapter" not in name:  # but for commands, durations and checksums
            assert json.loads(after[name]).keys() == json.loads(before[name]).keys()
        else:
            assert after[name] == before[name]


def test_a_lost_record_of_a_training_keeps_its_duration(place: Path) -> None:
    (file,) = (place / "runs" / "stages").glob("*/stage.json")
    before = json.loads(file.read_text())
    file.unlink()
    _, (warning,) = repeat(place)
    after = json.loads(file.read_text())
    assert "training curves are lost" in warning
    assert (after["seconds"], after["document"], after["log"]) == (before["seconds"], before["document"], [])


@pytest.fixture
def done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained or measured."""
    monkeypatch.setattr(trainer.StageTraining, "run", lambda self: pytest.fail("trained again"))
    monkeypatch.setattr("rilbench.engine.session.evaluate", lambda *a, **named: pytest.fail("measured again"))


@pytest.mark.usefixtures("done_once")
def test_a_damaged_picture_is_made_again_without_training_or_measuring(place: Path) -> None:
    pictures = list((place / "runs").rglob("sample-*.png"))
    before = {path: path.read_bytes() for path in pictures}
    pictures[0].unlink()
    pictures[1].write_bytes(before[pictures[1]][:-20])
    _, warnings = repeat(place)
    assert {path: path.read_bytes() for path in pictures} == before
    assert warnings == []


@pytest.mark.usefixtures("done_once")
def test_more_pictures_are_drawn_without_measuring_a_stage_again(place: Path) -> None:
    before = files(place)
    result, warnings = repeat(place, "evaluate.pictures=3")
    assert warnings == []
    new = {name for name in files(place) if name not in before}
    folders = [f"runs/{row.evaluation}" for row in result.matrix.rows]
    assert new == {f"{folder}/sample-2.png" for folder in folders}
    assert {name: data for name, data in files(place).items() if name not in new} == before
    base, trained = (pil_to_tensor(Image.open(place / folder / "sample-2.png")) for folder in folders)
    kept = load_file(place / folders[0] / "images.safetensors")["images"]
    assert torch.equal(base, kept[4])  # two images a prompt
    assert not torch.equal(base, trained)


@pytest.mark.slow
def test_base_images_that_a_new_stage_needs_are_made_again(place: Path) -> None:
    (file,) = (place / "runs").rglob("images.safetensors")
    before = file.read_bytes()
    file.write_bytes(before[:-100] + bytes(100))
    reporter = Loud()
    config = toy.config(place, "rewards=[red]", "train.samples=2")
    result = engine.run(config, catalog=toy.catalog(), reporter=reporter).result
    assert ["images.safetensors is damaged" in text for text in reporter.warnings] == [True, False]  # few prompts
    assert file.read_bytes() == before
    assert result.matrix.values("likeness")[0] == 1.0


@pytest.mark.slow
def test_evaluate_keeps_a_finished_result_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy.config(place)
    arguments = {"catalog": toy.catalog(), "reporter": Reporter(quiet=True)}
    foreign.evaluate(config, **arguments)  # type: ignore[arg-type]
    before = files(place)
    foreign.evaluate(config, command="another", **arguments)  # type: ignore[arg-type]
    assert files(place) == before
