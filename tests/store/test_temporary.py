"""What killed processes leave is told from what a living one writes, and goes with the next command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy

from rilbench.contracts.errors import ConfigError, DamagedError, RilbenchError
from rilbench.engine.progress import Reporter
from rilbench.store import temporary
from rilbench.store.files import replacing, write_json
from rilbench.store.tensors import load_checkpoint, save_checkpoint
from rilbench.training import stage as trainer
from rilbench_release import foreign

KILLED = """
import os, signal
from pathlib import Path
from rilbench.store.files import replacing
with replacing(Path("result.json")) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(folder: Path) -> Path:
    subprocess.run([sys.executable, "-c", KILLED], cwd=folder, check=False)
    (left,) = folder.glob(".*.part")
    return left


def age(path: Path) -> None:
    os.utime(path, (time.time() - 25 * 3600,) * 2)


def test_the_next_writer_takes_what_a_killed_one_left_a_day_ago(tmp_path: Path) -> None:
    left = kill_while_writing(tmp_path)
    write_json(tmp_path / "other.json", {})
    assert left.exists()
    age(left)
    write_json(tmp_path / "result.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "result.json"]


def test_a_living_writer_keeps_its_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "one.json") as mine:
        mine.write_text("half")
        temporary.sweep(tmp_path)
        assert mine.exists()
        assert temporary.beside(tmp_path / "one.json") != mine


@pytest.mark.parametrize("name", [".hidden", "a.part", ".a.part", ".a.0123.part", "sample.png"])
def test_other_files_are_nobodys_temporary_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    temporary.sweep(tmp_path, alone=True)
    assert (tmp_path / name).exists()


def test_a_long_name_has_a_temporary_one(tmp_path: Path) -> None:
    name = "ä" * 120 + ".json"  # 245 bytes
    write_json(tmp_path / name, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
def test_a_stage_that_is_taken_up_again_is_swept(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rilbench.engine.training.save_pair", killed)
        with pytest.raises(KeyboardInterrupt):
            toy.run(workplace, "rewards=[red]", "train.samples=2")
    (stage,) = (path.parent for path in (workplace / "runs").glob("stages/*/stage.json"))
    kill_while_writing(stage)
    toy.run(workplace, "rewards=[red]", "train.samples=2")
    assert not list((workplace / "runs").rglob("*.part"))


def test_an_evaluation_that_cannot_begin_leaves_nothing(workplace: Path) -> None:
    config = toy.config(workplace)
    (workplace / "pipeline" / "model_index.json").write_text("{}")
    with pytest.raises(ConfigError):
        foreign.evaluate(config, catalog=toy.catalog(), reporter=Reporter(quiet=True))
    assert not list((workplace / "runs").rglob("*"))


def test_no_flipped_bit_of_a_checkpoint_goes_unseen(tmp_path: Path) -> None:
    """Six of twenty-five ended in another result."""
    file = tmp_path / "checkpoint.pt"
    save_checkpoint({"update": 3, "factors": [torch.arange(50.0)]}, file)
    state, data = load_checkpoint(file), file.read_bytes()
    assert state is not None
    assert torch.equal(state["factors"][0], torch.arange(50.0))
    for place in range(0, 8 * len(data), 101):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedError, match=r"checkpoint\.pt .*damaged.*[Dd]elete it"):
            load_checkpoint(file)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flipped", "empty"])
def test_a_damaged_checkpoint_costs_a_new_start_of_its_stage(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    short = ("rewards=[red]", "train.samples=8", "train.checkpoint_every=2")
    update = trainer.StageTraining.update

    def stop(self: trainer.StageTraining, number: int, *arguments: object) -> dict[str, float]:
        if number == 3:
            raise RilbenchError("stopped")
        return update(self, number, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(trainer.StageTraining, "update", stop)
        with pytest.raises(RilbenchError, match="stopped"):
            toy.run(workplace, *short)
    (file,) = (workplace / "runs").rglob("checkpoint.pt")
    saved = load_checkpoint(file) or {}
    assert saved["update"] == 2
    if damage == "flipped":
        data = file.read_bytes()
        file.write_bytes(data[:-500] + bytes([data[-500] ^ 1]) + data[-499:])
    else:
        file.write_bytes(b"")
    done = toy.run(workplace, *short)
    assert "Stage 1 (red) starts from its beginning" in capsys.readouterr().err
    assert not list((workplace / "runs").rglob("checkpoint.pt"))
    stopped = {row.stage_id: dict(row.values) for row in done.result.matrix.rows}
    (workplace / "runs").rename(workplace / "first")
    whole = toy.run(workplace, *short).result.matrix.rows
    assert {row.stage_id: dict(row.values) for row in whole} == stopped
