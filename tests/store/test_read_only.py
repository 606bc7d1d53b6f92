"""A store that may only be read: everything in it can be looked at and used, and what must be written is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import studies
import toy
from read_only import read_only

from rilbench.cli import main


@pytest.fixture
def finished(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study of one run that is finished."""
    assert called(monkeypatch, *study(workplace)) == 0
    return workplace


def study(folder: Path) -> list[str]:
    file = studies.study_file(folder)
    return ["study", "--config", str(file), "--strategies", "baseline", "--rewards", "red", *options()]


def options() -> list[str]:
    return ["evaluate.metrics=[]", "train.samples=4", "--plugin", "red=toy:Redness", "--quiet"]


def called(patched: pytest.MonkeyPatch, *arguments: str) -> int:
    patched.setattr(sys, "argv", ["rilbench", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_what_is_finished_can_be_used(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, elsewhere = finished / "runs", finished / "elsewhere"
    (run,) = (path.parent for path in store.glob("*/result.json"))
    config = ["--config", str(run / "config.yaml"), "--plugin", "red=toy:Redness"]
    commands = {
        "run": ["run", *config],
        "study": study(finished),
        "explain": ["explain", *config],
        "compare": ["compare", str(store)],
        "report": ["report", str(store), "-o", str(elsewhere / "report.html")],
        "export": ["export", str(run), "-o", str(elsewhere / "export"), "--plugin", "red=toy:Redness"],
        "generate": ["generate", str(run), "--prompt", "a red circle", "-o", str(elsewhere / "a.png"), *config[2:]],
    }
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    with read_only(store):
        codes = {name: called(monkeypatch, *arguments) for name, arguments in commands.items()}
    assert codes == dict.fromkeys(commands, 0), capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_what_is_not_finished_names_the_folder(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.config(finished)
    run = ["run", "--config", str(finished / "toy.yaml"), "--rewards", "red", *options()]
    evaluate = ["evaluate", str(finished / "pipeline"), *run[1:5], "evaluate.seed=5", "evaluate.metrics=[]"]
    evaluate += ["--plugin", "red=toy:Redness"]
    with read_only(finished / "runs"):
        for arguments in ([*run, "--seed", "7"], evaluate):
            assert called(monkeypatch, *arguments) == 1
            error = capsys.readouterr().err
            assert f"cannot write {finished / 'runs'}/" in error
            assert "Permission denied" in error
            assert "Remove it" not in error
