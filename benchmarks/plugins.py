"""How long `rilbench plugins list` takes with many plugins installed, and over the bare start of Python.

    python benchmarks/plugins.py --distributions 50 --repeats 9

The distributions are made up in a temporary folder; each registers a reward, a metric and a hook.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def fabricate(folder: Path, count: int) -> None:
    """Distributions with a reward, a metric and a hook each, as pip leaves them."""
    for n in range(count):
        info = folder / f"made_up_{n}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-up-{n}\nVersion: 1.0\n")
        points = {"rewards": "Reward", "metrics": "Metric", "hooks": "Hook"}
        (info / "entry_points.txt").write_text(
            "".join(f"[rilbench.{group}]\n{group}_{n} = made_up_{n}:{cls}\n" for group, cls in points.items())
        )


def seconds(command: list[str], environment: dict[str, str], repeats: int) -> list[float]:
    """Wall time of each of `repeats` runs of a command."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--distributions", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made_up:
        fabricate(Path(made_up), options.distributions)
        environment = os.environ | {"PYTHONPATH": made_up}
        bare = statistics.median(seconds([sys.executable, "-c", "pass"], environment, options.repeats))
        for extra in ([], ["--json"]):
            command = [sys.executable, "-m", "rilbench.cli", "plugins", "list", *extra]
            times = seconds(command, environment, options.repeats)
            middle = statistics.median(times)
            print(
                f"{' '.join(['rilbench', *command[3:]]):28} {options.distributions} distributions: "
                f"{min(times):.3f} / {middle:.3f} / {max(times):.3f} s (min / median / max), "
                f"{middle / bare:.1f} x the bare interpreter"
            )


if __name__ == "__main__":
    main()
