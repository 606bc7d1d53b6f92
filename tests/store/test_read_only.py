"""A store that may only be read: everything in it can be looked at and used, and what must be written is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import studies
import toy
from command import rilbench
from read_only import read_only


@pytest.fixture
def finished(workplace: Path) -> Path:
    """The folder of a study of one run that is finished."""
    assert rilbench(*study(workplace)).code == 0
    return workplace


def study(folder: Path) -> list[str]:
    file = studies.study_file(folder)
    return ["study", "--config", str(file), "--strategies", "baseline", "--rewards", "red", *options()]


def options() -> list[str]:
    return ["evaluate.metrics=[]", "train.samples=4", "--plugin", "red=toy:Redness", "--quiet"]


def test_what_is_finished_can_be_used(finished: Path) -> None:
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
        ended = {name: rilbench(*arguments) for name, arguments in commands.items()}
    assert {name: done.err for name, done in ended.items() if done.code} == {}
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.slow
def test_what_is_not_finished_names_the_folder(finished: Path) -> None:
    toy.config(finished)
    run = ["run", "--config", str(finished / "toy.yaml"), "--rewards", "red", *options()]
    evaluate = ["evaluate", str(finished / "pipeline"), *run[1:5], "evaluate.seed=5", "evaluate.metrics=[]"]
    evaluate += ["--plugin", "red=toy:Redness"]
    with read_only(finished / "runs"):
        for arguments in ([*run, "--seed", "7"], evaluate):
            done = rilbench(*arguments)
            assert done.code == 1
            assert f"cannot write {finished / 'runs'}/" in done.err
            assert "Permission denied" in done.err
            assert "Remove it" not in done.err
