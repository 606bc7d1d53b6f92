"""What training costs on a CUDA card: `benchmarks/gpu.sh` runs this file.

SD v1.5 with random weights, 512 pixels, N = 50, bf16, the reward HPS (ViT-H/14), gradient checkpointing. Lines of JSON
are written immediately, with the seconds since the start as `at`. Each part is a separate command, stopped at the time
limit; one that fails is a line with its error.

    steps      `benchmarks/step.py`: floor, baseline and RID, batch 1 and 4, stage 1 and 8
    run        the README's run on `shapes`
    tests      the tests that need CUDA
    compiled   `steps` again, with torch.compile of the denoiser
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from rilbench.contracts.errors import reason

ROOT = Path(__file__).parent.parent
RUN = ["-m", "rilbench.cli", "run", "--json", "--strategy", "rid", "--rewards", "aesthetic,hps", "tracking=false"]
STEP = ["benchmarks/step.py", "--model", "sd15", "--batches", "1,4"]
TINY = {  # what makes a part small
    "run": ["train.samples=16", "evaluate.images_per_prompt=1", "evaluate.metrics=[png_kb]"],
    "steps": ["--model", "tiny", "--reward", "compressibility", "model.steps=2", "model.resolution=null"],
}
Lines = Iterable[str]


def rows_of_a_run(printed: Lines) -> Iterator[dict[str, Any]]:
    """Seconds of training and the last values."""
    rows = json.loads("".join(printed))["stages"]
    yield {"train_seconds": sum(row["train_seconds"] for row in rows), "values": rows[-1]["values"]}


PARTS: dict[str, tuple[list[str], Callable[[Lines], Iterable[dict[str, Any]]]]] = {
    "steps": (STEP, lambda printed: map(json.loads, printed)),
    "run": (RUN, rows_of_a_run),
    "tests": (
        ["-m", "pytest", "-m", "cuda", "tests/model/test_cuda.py", "-p", "no:cacheprovider"],
        lambda printed: [{"summary": list(printed)[-1].strip()}],
    ),
    "compiled": ([*STEP, "--compile", "--kinds", "rid@1,baseline@1"], lambda printed: map(json.loads, printed)),
}


def main(
    output: Annotated[Path | None, typer.Option(help="Default: $OUT/gpu.jsonl, or docs/data/gpu.jsonl")] = None,
    seconds: Annotated[float, typer.Option(help="Time limit for all parts")] = 480.0,
    only: Annotated[str, typer.Option(help=f"Parts, of {', '.join(PARTS)}")] = ",".join(PARTS),
    tiny: Annotated[bool, typer.Option("--tiny", help="Use a tiny model, to test this on a CPU")] = False,
) -> None:
    """Measure all parts; writes one line of JSON per result."""
    if unknown := set(only.split(",")) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(PARTS)}", param_hint="--only")
    path = output or Path(os.environ.get("OUT") or ROOT / "docs" / "data") / "gpu.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.time()

    def write(**values: Any) -> None:
        line = json.dumps({"at": round(time.time() - start, 1)} | values)
        with path.open("a") as file:
            file.write(line + "\n")
        typer.echo(line)

    write(measure="start", **about())
    for name in only.split(","):
        command, read = PARTS[name]
        small = TINY["run" if name == "run" else "steps"] if tiny and name != "tests" else []
        try:
            with tempfile.TemporaryDirectory() as store:
                own = [f"store={store}"] if name == "run" else []
                for values in read(lines([sys.executable, *command, *small, *own], start + seconds)):
                    write(**{"measure": name} | values)
        except Exception as error:  # any error: continue with the next part
            write(measure=name, error=reason(error)[:300])
    write(measure="end")


def lines(command: list[str], until: float) -> Iterator[str]:
    """Yield the output of a command line by line; at the time limit, stop it and its child processes.

    TimeoutError then, RuntimeError for an exit code that is not 0.
    """
    left = until - time.time()
    if left <= 0:
        raise TimeoutError("no time left")
    last, options = deque[str](maxlen=3), {"text": True, "start_new_session": True, "cwd": ROOT}
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, **options) as process:
            timer = threading.Timer(left, lambda: os.killpg(process.pid, signal.SIGKILL))
            timer.start()
            try:
                for line in process.stdout or ():
                    last.append(line)
                    yield line
                process.wait()
            finally:
                timer.cancel()
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode == -signal.SIGKILL and time.time() >= until:
            raise TimeoutError(f"stopped after {left:.0f} s, no time left")
        if process.returncode:
            errors.seek(0)
            said = errors.read().strip().splitlines()[-3:] or last
            raise RuntimeError(f"exit code {process.returncode}: {' | '.join(line.strip() for line in said)}")


def about() -> dict[str, Any]:
    """The machine and the code."""
    cuda = torch.cuda.is_available()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    typer.run(main)
