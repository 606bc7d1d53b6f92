"""Each reward alone, with each strategy: does its own metric rise over the base model?

    python benchmarks/alone.py

Prints a Markdown table: the gain of the reward's mean over the base, paired by prompt and noise, with its 95 %
bootstrap interval over prompts. Finished stages come from the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rilbench.contracts.result import Row, RunResult
from rilbench.engine import run as engine
from rilbench.engine.config import load
from rilbench.engine.progress import Reporter
from rilbench.evaluation.bootstrap import interval
from rilbench.host.catalog import Catalog
from rilbench.store.layout import Store
from rilbench.store.tensors import load_tensors

STRATEGIES = ("rid", "baseline", "joint", "soup")
REWARDS = ("aesthetic", "hps", "compressibility")


def main(store: Annotated[Path, typer.Option(help="Store of the runs")] = Path("runs")) -> None:
    """Run what is missing and print the table."""
    typer.echo("| strategy | reward | base | after | gain | 95 % interval | excludes 0 |")
    typer.echo("|---|---|---:|---:|---:|---:|---|")
    for strategy in STRATEGIES:
        for reward in REWARDS:
            config = load("shapes", [f"store={store}", "tracking=false"], strategy=strategy, rewards=reward)
            result = engine.run(config, catalog=Catalog(), reporter=Reporter()).result
            first, last = (load_tensors(Store(store).evaluation(row.evaluation).scores)[reward] for row in ends(result))
            gain, (low, high) = (last - first).mean().item(), interval(last - first)
            numbers = (f"{v:.4g}" for v in (first.mean().item(), last.mean().item(), gain))
            row = (strategy, reward, *numbers, f"{low:.4g} to {high:.4g}", "yes" if low > 0 else "NO")
            typer.echo(f"| {' | '.join(row)} |")


def ends(result: RunResult) -> tuple[Row, Row]:
    """The base and the last row."""
    return result.matrix.rows[0], result.matrix.rows[-1]


if __name__ == "__main__":
    typer.run(main)
