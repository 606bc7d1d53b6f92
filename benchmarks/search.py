"""The search that chose the recipes of `configs/shapes.yaml`: every strategy gets the same trials.

    python benchmarks/search.py --out search.json

Each trial trains one reward from the base with one seed that no published table uses (100), with the same number
of samples, and measures the target reward and what else changed. Batch sizes and learning rates are a grid; for
`rid` lambda takes the place of one axis, so both strategies get the same number of trials.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rilbench import engine
from rilbench.catalog import Catalog
from rilbench.config import load
from rilbench.progress import Reporter

GRID: dict[str, dict[str, list[dict[str, float]]]] = {
    "baseline": {
        reward: [{"lr": lr, "batch_size": size} for lr, size in itertools.product((1e-3, 3e-3), (8, 16))]
        for reward in ("aesthetic", "hps", "compressibility")
    },
    "rid": {
        reward: [{"lr": lr, "lam": lam} for lr, lam in itertools.product((1e-3, 3e-3), lams)]
        for reward, lams in (("aesthetic", (30, 300)), ("hps", (3, 30)), ("compressibility", (30, 300)))
    },
}


def main(out: Annotated[Path, typer.Option(help="JSON file to write")], seed: int = 100) -> None:
    """Run every trial and write its settings with the final row."""
    trials: list[dict[str, Any]] = []
    for strategy, rewards in GRID.items():
        for reward, settings in rewards.items():
            for chosen in settings:
                trials.append({"strategy": strategy, "reward": reward, **chosen, **_trial(strategy, reward, chosen, seed)})
                out.write_text(json.dumps(trials, indent=1))
                typer.echo(trials[-1])


def _trial(strategy: str, reward: str, chosen: dict[str, float], seed: int) -> dict[str, Any]:
    overrides = [f"recipes.{strategy}.{reward}.{k}={v}" for k, v in chosen.items() if k != "lam"]
    overrides += [f"strategies.{strategy}.lam={chosen['lam']}"] if "lam" in chosen else []
    overrides += ["store=runs/search", "tracking=false"]
    config = load("shapes", overrides, strategy=strategy, rewards=reward, seed=seed)
    _, result = engine.run(config, catalog=Catalog(), reporter=Reporter())
    base, row = result.matrix.rows
    return {"base": dict(base.values), "after": dict(row.values), "seconds": row.train_seconds + row.evaluate_seconds}


if __name__ == "__main__":
    typer.run(main)
