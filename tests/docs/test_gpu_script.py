"""`benchmarks/gpu.sh` on a CPU with a tiny model: every measurement is a line, and none stops the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

from rilbench.engine.config import RunConfig

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def script(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, "OUT": str(out), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "--tiny", *arguments], env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_line_for_every_measurement(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In this process, but for the part's own."""
    gpu.main(output=tmp_path / "gpu.jsonl", only="steps", tiny=True)
    found = lines(tmp_path / "gpu.jsonl")
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == found
    start, *measured, ratios, end = found
    assert (start["measure"], start["model"], end["measure"]) == ("start", "tiny", "end")
    assert [(m["batch"], m["kind"]) for m in measured] == [(b, k) for b, kinds in gpu.KINDS for k in kinds]
    assert all(m["seconds"] > 0 < m["images_per_second"] for m in measured)
    assert all(ratios[name] > 0 for name in ("rid_over_floor", "rid_stage_8_over_1", "rid_batch_4_over_1"))


@pytest.mark.slow
def test_nothing_starts_when_the_time_is_over(tmp_path: Path) -> None:
    assert script(tmp_path, "--seconds", "0").returncode == 0
    _, *parts, end = lines(tmp_path / "gpu.jsonl")
    assert [part["measure"] for part in parts] == list(gpu.PARTS)
    assert all(part["error"] == "TimeoutError: no time left" for part in parts)
    assert end["seconds"] >= 0


def test_a_part_is_stopped_in_time() -> None:
    start = time.time()
    with pytest.raises(TimeoutError, match="no time left"):
        gpu._within([sys.executable, "-c", "import time; time.sleep(600)"], start + 1)
    assert time.time() - start < 300


def test_a_part_that_dies_says_why() -> None:
    with pytest.raises(RuntimeError, match="exit code 1: no card"):
        gpu._within([sys.executable, "-c", "raise SystemExit('no card')"], time.time() + 60)


@dataclass
class _Bench:
    config: RunConfig


def test_a_measurement_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(bench: _Bench, kind: str) -> tuple[float, float]:
        if kind == "rid@1":
            raise RuntimeError("CUDA out of memory")
        return 2.0, bench.config.train.batch_size

    monkeypatch.setattr(gpu, "_bench", lambda tiny: _Bench(RunConfig()))
    monkeypatch.setattr(gpu, "_timed", timed)
    gpu.steps(gpu.Record(tmp_path / "gpu.jsonl"), time.time() + 60, tiny=True, compiled=False)
    *measured, ratios = lines(tmp_path / "gpu.jsonl")
    errors = [m.get("error") for m in measured if m["kind"] == "rid@1"]
    assert errors == ["RuntimeError: CUDA out of memory"] * 2
    assert [m["peak_gb"] for m in measured if m["kind"] == "floor"] == [1, 4]
    assert ratios == {
        "measure": "ratios",
        "compiled": False,
        "baseline_over_floor": 1.0,
        "baseline_stage_8_over_1": 1.0,
    }
