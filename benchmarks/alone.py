"""Each reward alone, with each strategy: does its own metric rise over the base model?

    python benchmarks/alone.py

Prints a Markdown table: the gain of the reward's mean over the base, paired by prompt and noise, with its 95 %
interval over prompts. Finished stages come from the store.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Annotated

import torch
import typer

import rilbench
from rilbench.evaluation.intervals import interval

STRATEGIES = ("rid", "baseline", "joint", "soup")
REWARDS = ("aesthetic", "hps", "compressibility")


def main(store: Annotated[Path, typer.Option(help="Store of the runs")] = Path("runs")) -> None:
    """Run missing cases and print the table."""
    typer.echo("| strategy | reward | base | after | gain | 95 % interval | excludes 0 |")
    typer.echo("|---|---|---:|---:|---:|---:|---|")
    for strategy, reward in product(STRATEGIES, REWARDS):
        run = rilbench.run(strategy=strategy, rewards=[reward], settings={"tracking": False}, store=store)
        base, after = (run.stage(n).scores[reward].unstack("image") for n in (0, -1))
        gain = torch.tensor((after - base).to_numpy())  # (prompts, images)
        low, high = interval(gain) or (float("nan"), float("nan"))
        numbers = (f"{v:.4g}" for v in (base.to_numpy().mean(), after.to_numpy().mean(), gain.mean().item()))
        row = (strategy, reward, *numbers, f"{low:.4g} to {high:.4g}", "yes" if low > 0 else "NO")
        typer.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    typer.run(main)
