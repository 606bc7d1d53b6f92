"""`benchmarks/record.py`: what a study's runs say, in the repository."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT
from safetensors.numpy import load_file
from stores import BACKWARDS, FORWARDS, PROMPTS, A, save

from rilbench.analysis.sources import load_runs
from rilbench.store import stage_record

sys.path.insert(0, str(ROOT / "benchmarks"))
import record

LOG = [
    {"update": 1, "loss": 0.5, "gradient": 0.123456789, "gradient/reward": 0.1, "gradient/distillation": 0.0},
    {"update": 2, "loss": 0.4, "gradient": 2e-9},
]
TRAIN = {"lr": 0.001, "samples": 16}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two seeds of a method in two orders, and of a merge; all share the base model's evaluation."""
    folder = tmp_path / "runs"
    for seed in range(2):
        for rewards in (FORWARDS, BACKWARDS):
            save(folder, "rid", rewards, seed, settings={"reward_settings": {"own": {"file": "/somewhere/else/a.pt"}}})
        save(folder, "soup", FORWARDS, seed, stages=[f"{r}{seed}" for r in FORWARDS], merge=True)
    document = {"model": {}, "chain": [], "train": TRAIN}
    trained = folder / "stages" / f"{A}0"
    stage_record.write(trained, label=A, document=document, seconds=1.5, log=LOG, carry=False)
    return folder


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).decode().splitlines()]


def test_the_record_reads_back(store: Path, tmp_path: Path) -> None:
    """Values to seven digits, prompt means to six, and whatever tells methods apart."""
    record.write(tmp_path / "record", [str(store)])
    read = record.read(tmp_path / "record")
    runs = {run.name: run for run in load_runs([str(store)], lambda address: [])}
    assert {run.name for run in read.runs} == set(runs)
    for run in read.runs:
        own = runs[run.name]
        assert (run.label, run.rewards, run.seed) == (own.label, own.rewards, own.seed)
        assert run.matrix.metrics == own.matrix.metrics  # in their order
        for row, before in zip(run.matrix.rows, own.matrix.rows, strict=True):
            assert (row.label, row.rewards, row.stage_id) == (before.label, before.rewards, before.stage_id)
            assert row.values == pytest.approx(dict(before.values), rel=1e-6)
            scores = load_file(store / row.evaluation / "scores.safetensors")
            assert read.scores[row.evaluation].keys() == scores.keys()
            for name, means in read.scores[row.evaluation].items():
                assert means.shape == (PROMPTS,)
                np.testing.assert_allclose(means, scores[name].mean(1), rtol=1e-5)
        assert read.settings[run.name]["strategy"] == run.strategy
        assert read.settings[run.name]["train.lr"] == 0.001


def test_the_record_has_how_a_stage_was_trained(store: Path, tmp_path: Path) -> None:
    record.write(tmp_path / "record", [str(store)])
    stage = record.read(tmp_path / "record").stages[f"{A}0"]
    assert (stage["updates"], stage["seconds"], stage["train"]) == (2, 0.0, TRAIN)
    gradients = {"gradient": [0.123457, 2e-9], "gradient/distillation": [0.0, None], "gradient/reward": [0.1, None]}
    assert stage["gradients"] == gradients


def test_equal_runs_make_equal_bytes(store: Path, tmp_path: Path) -> None:
    runs = sorted(str(folder) for folder in store.iterdir() if folder.name != "stages")
    files = record.write(tmp_path / "one", [str(store)])
    again = record.write(tmp_path / "two", [*reversed(runs), str(store)])
    assert [file.name for file in files] == ["seed0.jsonl.gz", "seed1.jsonl.gz"]
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]


def test_what_runs_share_is_one_line(store: Path, tmp_path: Path) -> None:
    (file, _) = record.write(tmp_path / "record", [str(store)])
    named = [(line["kind"], line.get("id", line.get("name"))) for line in lines(file)]
    assert len(named) == len(set(named))
    assert named.count(("evaluation", "stages/base/evaluations/e")) == 1
    assert [kind for kind, _ in named].count("settings") == 2  # of two methods, the first in two orders


def test_a_growing_study_changes_the_files_of_its_new_runs_only(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that is not finished is left out, with a line that names it."""
    first, second = record.write(tmp_path / "record", [str(store)])
    before = first.read_bytes(), second.read_bytes()
    save(store, "joint", FORWARDS, 1)
    save(store, "joint", FORWARDS, 2, status="running")
    assert record.write(tmp_path / "record", [str(store)]) == [first, second]
    assert first.read_bytes() == before[0]
    assert second.read_bytes() != before[1]
    assert f"joint-{'-'.join(FORWARDS)}-seed2" in capsys.readouterr().err
    record.write(tmp_path / "record", [str(save(store, "rid", FORWARDS, 7))])
    assert {run.seed for run in record.read(tmp_path / "record").runs} == {0, 1, 7}


def test_the_record_names_no_folder_of_this_machine(store: Path, tmp_path: Path) -> None:
    (file, _) = record.write(tmp_path / "record", [str(store)])
    text = gzip.decompress(file.read_bytes()).decode()
    assert "a.pt" in text
    assert "/somewhere" not in text
    assert str(tmp_path) not in text
