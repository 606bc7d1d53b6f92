"""The search that chose the recipes of `configs/shapes.yaml`: every strategy gets the same samples and trials.

    OMP_NUM_THREADS=1 python benchmarks/search.py run --strategy baseline &
    OMP_NUM_THREADS=1 python benchmarks/search.py run --strategy rid; wait
    python benchmarks/search.py choose

Each trial trains one reward from the base (joint: all three) with a seed that no published table uses, and measures
every metric. Twelve trials a strategy: for each of three rewards learning rate x batch size for `baseline`, and
learning rate x reward scale for `rid`, whose lambda only counts relative to it; for `joint` learning rate x batch size
x how the rewards are balanced. The choice, the same for all: of the trials whose gain on the
target is at least two thirds of the largest gain any trial reached, the one that keeps the most structure (SSIM to the
base model's images); for `joint` the gain is the sum over rewards, each relative to the largest single gain.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

import rilbench

SEED = 100
REWARDS = ("aesthetic", "hps", "compressibility")
JOINT = "+".join(REWARDS)
RATE_BY_BATCH = [{"lr": lr, "batch_size": size} for lr, size in itertools.product((1e-3, 3e-3), (8, 16))]
SCALES = {"aesthetic": (0.005, 0.015), "hps": (0.1, 0.3), "compressibility": (30.0, 100.0)}
# weights that make the three gradients at the base model about equal, or running norms of the gradients
BALANCES: list[dict[str, float]] = [{"momentum": 0.0}, {"momentum": 0.9}, {"momentum": 0.99}]
WEIGHTS = "{aesthetic: 0.01, hps: 0.2, compressibility: 60.0}"
EQUAL = "{aesthetic: 1.0, hps: 1.0, compressibility: 1.0}"
GRID: dict[str, dict[str, list[dict[str, float]]]] = {
    "baseline": dict.fromkeys(REWARDS, RATE_BY_BATCH),
    "rid": {
        reward: [{"lr": lr, "reward_scale": scale} for lr, scale in itertools.product((1e-3, 3e-3), scales)]
        for reward, scales in SCALES.items()
    },
    "joint": {JOINT: [{**trial, **how} for trial in RATE_BY_BATCH for how in BALANCES]},
}
Folder = Annotated[Path, typer.Option(help="Folder of the trials")]
app = typer.Typer(no_args_is_help=True)


@app.command()
def run(strategy: Annotated[str, typer.Option(help="baseline, rid or joint")], folder: Folder = Path("search")) -> None:
    """Run a strategy's trials and write FOLDER/STRATEGY.json; finished trials come from the store."""
    folder.mkdir(exist_ok=True)
    trials = []
    for reward, settings in GRID[strategy].items():
        for chosen in settings:
            trials.append(_trial(strategy, reward, chosen, folder))
            (folder / f"{strategy}.json").write_text(json.dumps(trials, indent=1))


@app.command()
def choose(folder: Folder = Path("search")) -> None:
    """Print all trials as a Markdown table, the chosen ones marked."""
    trials = [trial for file in sorted(folder.glob("*.json")) for trial in json.loads(file.read_text())]
    largest = {r: max(t["gain"][r] for t in trials if t["reward"] == r) for r in REWARDS}
    typer.echo("| strategy | reward | settings | gain on target | structure | hps | oracle | chosen |")
    typer.echo("|---|---|---|---:|---:|---:|---:|---|")
    for (_, reward), group in itertools.groupby(trials, key=lambda t: (t["strategy"], t["reward"])):
        members = list(group)
        best = _best(members, {t["name"]: _gain(t, reward, largest) for t in members})
        for t in members:
            gain = _gain(t, reward, largest) * largest.get(reward, 1)
            kept = [f"{t['after'][k]:.3f}" for k in ("structure", "hps", "oracle")]
            row = (t["strategy"], reward, t["name"], f"{gain:.4g}", *kept)
            typer.echo(f"| {' | '.join(row)} | {'yes' if t is best else ''} |")


def _gain(trial: dict[str, Any], reward: str, largest: dict[str, float]) -> float:
    """Gain on the target as a share of the largest gain of any trial."""
    rewards = REWARDS if reward == JOINT else (reward,)
    return float(sum(trial["gain"][r] / largest[r] for r in rewards))


def _best(trials: list[dict[str, Any]], gain: dict[str, float]) -> dict[str, Any]:
    reference = 1.0 if trials[0]["reward"] != JOINT else max(gain.values())
    enough = [t for t in trials if gain[t["name"]] >= 2 / 3 * reference]
    return max(enough, key=lambda t: t["after"]["structure"]) if enough else max(trials, key=lambda t: gain[t["name"]])


def _trial(strategy: str, reward: str, chosen: dict[str, float], folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {
        f"recipes.{strategy}.{reward}.{key}": value for key, value in chosen.items() if key != "momentum"
    }
    if "momentum" in chosen:
        balanced = f"balance: gradients, momentum: {chosen['momentum']}, weights: {EQUAL}"
        joint = balanced if chosen["momentum"] else f"balance: weights, weights: {WEIGHTS}"
        settings["strategy_settings.joint"] = f"{{{joint}}}"
    settings["tracking"] = False
    made = rilbench.run(
        strategy=strategy, rewards=reward.split("+"), settings=settings, seed=SEED, store=folder / "runs"
    )
    base, row = made.result.matrix.rows
    return {
        "strategy": strategy,
        "reward": reward,
        "name": ", ".join(f"{key} {value:g}" for key, value in chosen.items()),
        "gain": {r: row.values[r] - base.values[r] for r in REWARDS},
        "after": dict(row.values),
        "seconds": row.train_seconds + row.evaluate_seconds,
    }


if __name__ == "__main__":
    app()
