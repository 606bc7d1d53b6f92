"""The search that chose the recipes of `configs/shapes.yaml`: every strategy gets the same trials.

    python benchmarks/search.py --out search.json

Each trial trains one reward from the base with one seed that no published table uses (100), with the same number of
samples, and measures every metric. The grid is learning rate x batch size for `baseline`, and learning rate x reward
scale (the inverse of lambda, in effect) for `rid`: four trials a reward each.
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

LAM = 100.0  # of rid; what counts is its ratio to reward_scale, which is searched
SCALES = {"aesthetic": (0.3, 1.0), "hps": (3.0, 10.0), "compressibility": (20.0, 60.0)}
GRID: dict[str, dict[str, list[dict[str, float]]]] = {
    "baseline": {
        reward: [{"lr": lr, "batch_size": size} for lr, size in itertools.product((1e-3, 3e-3), (8, 16))]
        for reward in SCALES
    },
    "rid": {
        reward: [{"lr": lr, "reward_scale": scale} for lr, scale in itertools.product((1e-3, 3e-3), scales)]
        for reward, scales in SCALES.items()
    },
}


def main(out: Annotated[Path, typer.Option(help="JSON file to write")], seed: int = 100) -> None:
    """Run every trial and write its settings with the final row."""
    trials: list[dict[str, Any]] = []
    for strategy, rewards in GRID.items():
        for reward, settings in rewards.items():
            for chosen in settings:
                trials.append(
                    {"strategy": strategy, "reward": reward, **chosen, **_trial(strategy, reward, chosen, seed)}
                )
                out.write_text(json.dumps(trials, indent=1))
                typer.echo(trials[-1])


def _trial(strategy: str, reward: str, chosen: dict[str, float], seed: int) -> dict[str, Any]:
    overrides = [f"recipes.{strategy}.{reward}.{key}={value}" for key, value in chosen.items()]
    overrides += [f"strategies.rid.lam={LAM}", "store=runs/search", "tracking=false"]
    config = load("shapes", overrides, strategy=strategy, rewards=reward, seed=seed)
    _, result = engine.run(config, catalog=Catalog(), reporter=Reporter())
    base, row = result.matrix.rows
    return {"base": dict(base.values), "after": dict(row.values), "seconds": row.train_seconds + row.evaluate_seconds}


if __name__ == "__main__":
    typer.run(main)
