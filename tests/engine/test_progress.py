"""Progress where stderr is no terminal: plain lines at a sensible rate, and none when quiet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import studies
import toy
from command import FEW, rilbench

from rilbench.engine.progress import Lines, Pace, Reporter


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_early_and_then_every_half_minute() -> None:
    clock = Clock()
    pace, heard = Pace(clock), []
    for second in range(181):
        clock.now = second
        if pace.due():
            heard.append(second)
    assert heard == [0, 5, 15, 35, 65, 95, 125, 155]


def test_a_line_says_how_far_the_work_is_and_how_long_it_will_take() -> None:
    clock, said = Clock(), list[str]()
    lines = Lines(said.append, "stage 1 of 2: red", lambda done, total: f"update {done} of {total}", clock=clock)
    for done, clock.now in ((101, 0.0), (102, 1.0), (111, 10.0), (112, 11.0), (200, 12.0)):
        lines.advance(done, 200, "reward 0.5")
    assert said == [
        "stage 1 of 2: red: update 101 of 200, reward 0.5",  # resumed: nothing is known of the speed
        "stage 1 of 2: red: update 111 of 200, reward 0.5, about 89 s left",
        "stage 1 of 2: red: update 200 of 200, reward 0.5",
    ]


def test_a_download_of_unknown_size() -> None:
    said = list[str]()
    lines = Lines(said.append, "downloading x", lambda done, total: f"{done} of {total}")
    lines.advance(5, None)
    assert said == ["downloading x: 5 of None"]


def test_warnings_come_through_when_progress_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(quiet=True)
    reporter.say("loading")
    with reporter.work("drawing", "image") as on_batch:
        on_batch(1, 2)
    reporter.warn("a file is missing")
    assert capsys.readouterr().err == "warning: a file is missing\n"


@pytest.mark.slow
def test_a_run_says_what_it_does(workplace: Path) -> None:
    toy.config(workplace)
    arguments = ["run", "--config", str(workplace / "toy.yaml"), "--rewards", "red", "evaluate.metrics=[]", "--json"]
    arguments += ["--plugin", "red=toy:Redness"]
    done = rilbench(*arguments, "--seed", "1")
    assert done.code == 0
    assert json.loads(done.out)["status"] == "finished", "stdout is data"
    assert "loading the model\n" in done.err
    assert re.search(r"^stage 1 of 1: red: update 1 of 4, reward [\d.]+, loss -?[\d.]+$", done.err, re.MULTILINE)
    assert re.search(r"^stage 1 of 1: red: update 4 of 4, reward [\d.]+, loss -?[\d.]+$", done.err, re.MULTILINE)
    assert "measuring after model: image 4 of 6\n" in done.err
    assert "measuring after red: image 6 of 6\n" in done.err
    assert FEW.fullmatch(rilbench(*arguments, "--seed", "2", "--quiet").err)


@pytest.mark.slow
def test_a_study_says_what_its_runs_do(workplace: Path) -> None:
    arguments = ["--strategies", "baseline", "--rewards", "red", *studies.SMALL]
    done = studies.command(workplace, *arguments)
    assert done.code == 0
    assert "Final value" in done.out
    assert "of 1 runs" not in done.out
    assert re.search(r"^0 of 1 runs: baseline red seed 0, measuring after model: image 3 of 3 \(about", done.err, re.M)
    assert "1 of 1 runs: baseline red seed 0 finished" in done.err
    assert FEW.fullmatch(studies.command(workplace, *arguments, "--seeds", "5,", "--quiet").err)
