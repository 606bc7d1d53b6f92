"""`benchmarks/gpu.sh` on a CPU with a tiny model: every measurement is a line, and none stops the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import gpu
import step


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
    times = [line.pop("at") for line in found]
    assert times == sorted(times)
    start, model, *rest, end = found
    assert (start["measure"], model["model"], end["measure"]) == ("start", "tiny", "end")
    measured = [line for line in rest if line["measure"] == "step"]
    assert [(m["batch"], m["kind"]) for m in measured] == [(b, k) for b in (1, 4) for k in step.KINDS.split(",")]
    assert all(m["seconds"] > 0 < m["images_per_second"] for m in measured)
    for ratios in (line for line in rest if line["measure"] == "ratios"):
        assert all(ratios[name] > 0 for name in ("rid@1 / floor", "rid@8 / rid@1", "rid@1 / baseline@1"))
    assert [line["batch"] for line in rest if line["measure"] == "counted"] == [1, 4]


@pytest.mark.slow
def test_nothing_starts_when_the_time_is_over(tmp_path: Path) -> None:
    assert script(tmp_path, "--seconds", "0").returncode == 0
    _, *parts, end = lines(tmp_path / "gpu.jsonl")
    assert [part["measure"] for part in parts] == list(gpu.PARTS)
    assert all(part["error"] == "TimeoutError: no time left" for part in parts)
    assert end["at"] >= 0


@pytest.mark.slow
def test_a_part_is_stopped_in_time() -> None:
    start = time.time()
    with pytest.raises(TimeoutError, match="no time left"):
        list(gpu.lines([sys.executable, "-c", "import time; time.sleep(600)"], start + 1))
    assert time.time() - start < 300


@pytest.mark.parametrize("code", ["raise SystemExit('no card')", "print('no card'); raise SystemExit(1)"])
def test_a_part_that_dies_says_why(code: str) -> None:
    with pytest.raises(RuntimeError, match="exit code 1: no card"):
        list(gpu.lines([sys.executable, "-c", code], time.time() + 60))


class _Bench:
    model = SimpleNamespace(device="cpu")

    def kind(self, name: str) -> step.Kind:
        def fail() -> None:
            raise RuntimeError("CUDA out of memory")

        return lambda: None, fail if name == "rid@1" else lambda: None


@pytest.mark.slow
def test_a_measurement_that_fails_does_not_stop_the_others() -> None:
    found = list(step.measured(_Bench(), ("baseline@1", "rid@1", "floor"), 2))  # type: ignore[arg-type]
    assert found[0] == ("rid@1", {"error": "RuntimeError: CUDA out of memory"})
    assert [(kind, sorted(values)) for kind, values in found[1:]] == [
        ("baseline@1", ["peak_gb", "seconds"]),
        ("floor", ["peak_gb", "seconds"]),
    ]


def test_ratios_need_both_times() -> None:
    assert step.ratios({"floor": 2.0, "rid@8": 4.0, "rid@1": 1.0}) == {
        "rid@1 / floor": 0.5,
        "rid@8 / floor": 2.0,
        "rid@8 / rid@1": 4.0,
    }
