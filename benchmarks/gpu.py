"""What training costs on a CUDA card: `benchmarks/gpu.sh` runs this file.

SD v1.5 with random weights, 512 pixels, N = 50, bf16, the reward HPS (ViT-H/14), gradient checkpointing. One line of
JSON for every measurement, written as it comes, the most valuable first; one that fails is a line with its error. Each
part is a process of its own, stopped when the time is over.

    steps      seconds of an update, images a second, peak memory: floor, baseline and RID, batch 1 and 4, stage 1 and 8
    run        the README's run on `shapes`
    tests      the tests that need CUDA
    compiled   `steps` again, with torch.compile of the denoiser

`floor` is what no strategy can do without: the denoiser's forwards, one backward, one decode, one reward.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from fullsize import CHECKPOINTING, build, floor, of, timed
from step import Bench

from rilbench.contracts.errors import reason
from rilbench.engine.config import compose
from rilbench.engine.layers import values_of

ROOT = Path(__file__).parent.parent
KINDS = (  # images an update, what is timed
    (1, ("floor", "baseline@1", "rid@1", "rid@8", "baseline@8")),
    (4, ("rid@1", "baseline@1", "floor")),
)
COMPILED = ((1, ("rid@1", "baseline@1")), (4, ("rid@1",)))
ROUNDS = 2  # timed updates of a kind, after one that is not


class Record:
    """The lines, appended to a file and printed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, measure: str, **values: Any) -> None:
        line = json.dumps({"measure": measure} | values)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(line + "\n")
        typer.echo(line)

    @contextmanager
    def failures(self, measure: str, **values: Any) -> Iterator[None]:
        """Within: what is raised is a line."""
        try:
            yield
        except Exception as error:  # whatever it is, the next measurement is tried
            self.write(measure, **values, error=reason(error)[:300])


def steps(record: Record, until: float, *, tiny: bool, compiled: bool) -> None:
    """Each kind of update at each batch size, and their ratios."""
    bench = _bench(tiny)
    if compiled:
        torch._functorch.config.donated_buffer = False  # gradient norms by term differentiate a graph twice
        bench.model.network.compile()
    found: dict[tuple[int, str], float] = {}
    for batch, kinds in COMPILED if compiled else KINDS:
        bench.config = replace(bench.config, train=replace(bench.config.train, batch_size=batch))
        for kind in kinds:
            about: dict[str, Any] = {"kind": kind, "batch": batch, "compiled": compiled}
            with record.failures("step", **about):
                if time.time() > until:
                    raise TimeoutError("no time left")
                found[batch, kind], peak = _timed(bench, kind)
                seconds = found[batch, kind]
                rate = round(batch / seconds, 3) if seconds else None
                record.write("step", **about, seconds=seconds, images_per_second=rate, peak_gb=peak)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # also after running out of memory
    record.write("ratios", compiled=compiled, **_ratios(found))


def _timed(bench: Bench, kind: str) -> tuple[float, float]:
    made = floor(bench) if kind == "floor" else bench.step(*of(kind))
    seconds, peak = timed({kind: made}, bench.model.device, ROUNDS)
    return seconds[kind], peak[kind]


def _ratios(found: dict[tuple[int, str], float]) -> dict[str, float]:
    """Those of which both times are known."""
    wanted = {
        "rid_over_baseline": ((1, "rid@1"), (1, "baseline@1")),
        "rid_over_floor": ((1, "rid@1"), (1, "floor")),
        "baseline_over_floor": ((1, "baseline@1"), (1, "floor")),
        "rid_stage_8_over_1": ((1, "rid@8"), (1, "rid@1")),
        "baseline_stage_8_over_1": ((1, "baseline@8"), (1, "baseline@1")),
        "rid_batch_4_over_1": ((4, "rid@1"), (1, "rid@1")),
    }
    return {
        name: round(found[above] / found[below], 3)
        for name, (above, below) in wanted.items()
        if found.get(above) and found.get(below)
    }


def _bench(tiny: bool) -> Bench:
    """The loaded model; its random weights are made where there are none yet."""
    model, reward = ("tiny", "compressibility") if tiny else ("sd15", "hps")
    folder = ROOT / "build" / "fullsize"
    build(model, folder, reward)
    own = {
        "model": {
            "path": f"{folder}/{model}",
            "precision": "bf16",
            "steps": 2 if tiny else 50,
            "guidance": 7.5,
            "resolution": None if tiny else 512,
        },
        "train": {"samples": 1_000_000, "log_gradients_every": 1_000_000},
        "reward_settings": {"hps": {"model": f"{folder}/clip"}},
    }
    return Bench(compose([own, values_of([CHECKPOINTING])]), reward)


def run(record: Record, until: float, *, tiny: bool) -> None:
    """The README's run, in a store of its own."""
    short = ["train.samples=16", "evaluate.images_per_prompt=1", "evaluate.metrics=[png_kb]"] if tiny else []
    with record.failures("README run"), tempfile.TemporaryDirectory() as store:
        arguments = ["run", "--json", "--strategy", "rid", "--rewards", "aesthetic,hps"]
        command = [sys.executable, "-m", "rilbench.cli", *arguments, f"store={store}", "tracking=false", *short]
        start = time.perf_counter()
        done = _output(command, until)
        rows = json.loads(done)["stages"]
        last = {"train_seconds": sum(row["train_seconds"] for row in rows), "values": rows[-1]["values"]}
        record.write("README run", seconds=round(time.perf_counter() - start, 1), **last)


def tests(record: Record, until: float, *, tiny: bool) -> None:
    """The tests marked `cuda`, which are skipped where there is no card."""
    with record.failures("cuda tests"):
        command = [sys.executable, "-m", "pytest", "-m", "cuda", "tests/model/test_cuda.py", "-p", "no:cacheprovider"]
        record.write("cuda tests", summary=_output(command, until).strip().splitlines()[-1])


def _output(command: list[str], until: float) -> str:
    """stdout of a command that must succeed before the time is over."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(1.0, until - time.time()))
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise RuntimeError(f"exit code {done.returncode}: {' | '.join(last)}")
    return done.stdout


PARTS: dict[str, Callable[[Record, float, bool], None]] = {
    "steps": lambda record, until, tiny: steps(record, until, tiny=tiny, compiled=False),
    "run": lambda record, until, tiny: run(record, until, tiny=tiny),
    "tests": lambda record, until, tiny: tests(record, until, tiny=tiny),
    "compiled": lambda record, until, tiny: steps(record, until, tiny=tiny, compiled=True),
}


def main(
    output: Annotated[Path | None, typer.Option(help="Default: $OUT/gpu.jsonl, or docs/data/gpu.jsonl")] = None,
    seconds: Annotated[float, typer.Option(help="The time for everything")] = 480.0,
    only: Annotated[str, typer.Option(help=f"Parts, of {', '.join(PARTS)}")] = ",".join(PARTS),
    tiny: Annotated[bool, typer.Option("--tiny", help="A tiny model, to try this on a CPU")] = False,
    part: Annotated[str, typer.Option(hidden=True)] = "",
    until: Annotated[float, typer.Option(hidden=True)] = 0.0,
) -> None:
    """Measure, a line of JSON at a time."""
    if unknown := set(only.split(",")) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}", param_hint="--only")
    record = Record((output or Path(os.environ.get("OUT") or ROOT / "docs" / "data") / "gpu.jsonl").resolve())
    if part:
        PARTS[part](record, until, tiny)
        return
    until = time.time() + seconds
    record.write("start", **_about(tiny))
    for name in only.split(","):
        options = ["--part", name, "--until", str(until), "--output", str(record.path), *(["--tiny"] if tiny else [])]
        with record.failures(name):
            _within([sys.executable, __file__, *options], until)
    record.write("end", seconds=round(time.time() - until + seconds, 1))


def _within(command: list[str], until: float) -> None:
    """Run a part; it and what it started are ended when the time is over."""
    left = until - time.time()
    if left <= 0:
        raise TimeoutError("no time left")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT)
    try:
        _, said = process.communicate(timeout=left)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"stopped after {left:.0f} s, no time left") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' | '.join(said.strip().splitlines()[-3:])}")


def _about(tiny: bool) -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit.stdout.strip(),
        "model": "tiny" if tiny else "sd15",
        "precision": "bf16",
        "resolution": None if tiny else 512,
        "steps": 2 if tiny else 50,
        "reward": "compressibility" if tiny else "hps",
    }


if __name__ == "__main__":
    typer.run(main)
