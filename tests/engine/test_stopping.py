"""Ctrl-C and SIGTERM while a stage trains, and checkpoints by time."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toy

from rilbench.engine.stopping import Stopping
from rilbench.store.layout import Store
from rilbench.store.tensors import load_checkpoint
from rilbench.training import stage as trainer
from rilbench.training.stage import StageTraining

SMALL = ("rewards=[red]", "train.samples=8", "evaluate.images_per_prompt=1", "evaluate.metrics=[]")


@pytest.fixture
def terminated() -> Iterator[None]:
    """SIGTERM as the program handles it."""

    def terminate(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def signalled(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """The second update gets these signals in its middle."""
    update = StageTraining.update

    def interrupted(self: StageTraining, number: int, *arguments: Any) -> dict[str, float]:
        if number == 1:
            for each in numbers:
                os.kill(os.getpid(), each)
        return update(self, number, *arguments)

    monkeypatch.setattr(StageTraining, "update", interrupted)


def pair(workplace: Path) -> bytes:
    row = toy.run(workplace, *SMALL).result.matrix.rows[1]
    return Store(workplace / "runs").stage(row.stage_id).weights.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("terminated")
def test_the_first_signal_ends_the_run_after_the_update_with_a_checkpoint(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pair(workplace)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM):
        shutil.rmtree(workplace / "runs")
        with monkeypatch.context() as patched:
            signalled(patched, number)
            with pytest.raises(KeyboardInterrupt):
                pair(workplace)
        (file,) = (workplace / "runs").rglob("checkpoint.pt")
        assert (load_checkpoint(file) or {})["update"] == 2
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert pair(workplace) == whole


@pytest.mark.slow
def test_the_second_signal_acts_at_once(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled(monkeypatch, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pair(workplace)
    assert not list((workplace / "runs").rglob("checkpoint.pt"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_in_the_last_update_waits_until_the_pair_is_saved() -> None:
    done: list[str] = []

    def work() -> None:
        with Stopping():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("saved")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["saved"]


def test_signals_that_are_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stopping() as stopping:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
            stopping.between(lambda: pytest.fail("saved"))
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_checkpoints_are_due_by_time_too(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a minute an update and 100 updates from one checkpoint to the next."""
    saved: list[int] = []
    minutes = iter(range(0, 10**6, 60))
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(minutes)))
    monkeypatch.setattr(trainer, "save_checkpoint", lambda state, path: saved.append(state["update"]))
    toy.run(workplace, *SMALL, "train.samples=14", "train.checkpoint_minutes=2")
    assert saved == [2, 4, 6]
