"""An evaluation that is stopped or killed resumes with the images it had drawn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from killed import forked

from rilbench.contracts.errors import RilbenchError
from rilbench.evaluation import evaluate, unfinished
from rilbench.evaluation.unfinished import Unfinished

SMALL = ("rewards=[red]", "train.samples=2", "evaluate.images_per_prompt=4", "evaluate.batch_size=3")  # 4 batches


def numbers(workplace: Path) -> dict[str, bytes]:
    """The files of all evaluations but seconds."""
    toy.run(workplace, *SMALL)
    found = sorted((workplace / "runs").rglob("evaluations/*/*"))
    assert not [path for path in found if path.is_dir()]
    return {str(p.relative_to(workplace)): p.read_bytes() for p in found if p.name != "metrics.json"}


@pytest.mark.slow
def test_a_killed_evaluation_resumes_to_the_same_bits(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at each batch of the base's and the stage's evaluation in turn; every image is drawn once."""
    whole = numbers(workplace)
    (workplace / "runs").rename(workplace / "whole")
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    generate, calls = evaluate.generate, 0

    def mortal(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:  # two batches more than the last time, the second is not written yet
            os.kill(os.getpid(), signal.SIGKILL)
        return generate(*arguments)

    monkeypatch.setattr(evaluate, "generate", mortal)
    kills = 0
    while kills < 10 and forked(lambda: numbers(workplace))[0]:
        kills += 1
    monkeypatch.setattr(evaluate, "generate", lambda *_: pytest.fail("drawn again"))
    assert kills == 3, "8 batches, of which an attempt draws 2: none is drawn twice"
    assert numbers(workplace) == whole


def batches(store: Unfinished, drawn: list[int]) -> torch.Tensor:
    def draw(first: int) -> Callable[[], torch.Tensor]:
        def images() -> torch.Tensor:
            drawn.append(first)
            return torch.full((2, 3, 1, 1), first, dtype=torch.uint8)

        return images

    return torch.cat([store(first, 2, draw(first)) for first in range(0, 10, 2)])


def test_a_damaged_file_is_drawn_again_and_those_after_it_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    whole = batches(Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail), [])
    files = sorted((tmp_path / "u" / "2").iterdir())
    assert [file.name for file in files] == [f"{first:08}.safetensors" for first in (0, 2, 4, 6)]
    files[1].write_bytes(files[1].read_bytes()[:-1])
    drawn: list[int] = []
    again = Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail)
    assert torch.equal(batches(again, drawn), whole)
    assert drawn == [2, 8]
    again.remove()
    assert not list(tmp_path.iterdir())


def test_images_drawn_before_and_after_a_stored_file_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    whole = batches(Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail), [])
    first, *_, last = sorted((tmp_path / "u" / "2").iterdir())
    first.write_bytes(first.read_bytes()[:-1])
    last.unlink()
    monkeypatch.setattr(unfinished, "SECONDS", 3600.0)
    store = Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail)
    assert torch.equal(batches(store, []), whole)
    store.flush()  # as after `SECONDS`
    drawn: list[int] = []
    assert torch.equal(batches(Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail), drawn), whole)
    assert not drawn, "those before the stored files and those after them were written where they belong"


def test_a_short_evaluation_writes_nothing(tmp_path: Path) -> None:
    batches(Unfinished(tmp_path / "u", batch_size=2, warn=pytest.fail), [])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RilbenchError("cannot write: no space left.")

    monkeypatch.setattr(unfinished, "SECONDS", 0.0)
    monkeypatch.setattr(unfinished, "save_tensors", full)
    warned: list[str] = []
    batches(Unfinished(tmp_path / "u", batch_size=2, warn=warned.append), [])
    assert warned == ["cannot write: no space left. If this evaluation is interrupted, it starts again"]
