"""The search that chose the recipes of `configs/shapes.yaml`: the same trials, samples and knobs for every strategy.

    OMP_NUM_THREADS=1 python benchmarks/search.py run --strategy baseline     # then rid and joint, at once if you like
    python benchmarks/search.py choose                                        # every trial, and the choices

A trial trains one reward from the base (joint: all three, on as many samples as three stages have) with a seed that no
published table uses, and measures it on prompts and noise that no published table uses.

Knobs: each strategy has two that trade gain for drift, the learning rate and one of its own. For `baseline` and `joint`
this is weight decay, which pulls a stage's weight change to zero; for `rid` it is the reward's scale, as lambda only
counts relative to it.

The rule, the same for all. Points 1 to 4 were written before the first trial, point 5 after those of the baseline:

1. The target is two thirds of the largest gain of the baseline without weight decay in the first nine trials (for
   joint: of its own first nine; its gain is the mean over rewards of gain / target).
2. First nine trials: three learning rates x three values of the own knob.
3. Then, until the trials are used up: the lowest learning rate is halved, or the highest doubled, for an own knob whose
   gains do not enclose the target, up to a factor of 4; the own knob is extended by a factor of 3 where the best value
   is its first or last one, but for 0; otherwise the best point known is tried itself, then the point between the two
   best own knobs, each further time at 1.5 times the learning rate.
4. The choice: for each value of the own knob, gain and structure (SSIM to the base model's images) are interpolated
   along the logarithm of the learning rate to where the gain meets the target. The value with the most structure there
   wins, with that learning rate. So all strategies learn the same in a first stage, and what they lose may differ.
5. The points beside it on a strategy's front: the same choice at 0.6 and at 1.3 times the target.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, NamedTuple

import typer

import rilbench
from rilbench.store.files import replacing

SEED = 100
TRIALS = 14
REWARDS = ("aesthetic", "hps", "compressibility")
JOINT = "+".join(REWARDS)
RATES = (5e-4, 1.5e-3, 4.5e-3)
DECAYS = (0.0, 20.0, 60.0)
SCALES = {"aesthetic": (0.002, 0.006, 0.018), "hps": (0.05, 0.15, 0.45), "compressibility": (15.0, 45.0, 135.0)}
OWN = {"baseline": "weight_decay", "rid": "reward_scale", "joint": "weight_decay"}
FIRST = len(RATES) * len(DECAYS)
SHARE = 2 / 3  # of the largest gain: the target
FRONT = {"low": 0.6, "chosen": 1.0, "high": 1.3}  # targets of the points of a front
STEP = 3.0  # factor between values of the own knob
FARTHEST = 4.0  # factor by which the learning rates are extended at most
CLOSE = 0.05  # relative difference of learning rates that is not tried again
DATA = Path(__file__).parent.parent / "docs" / "data" / "search"
SETTINGS: dict[str, Any] = {
    "tracking": False,
    "evaluate.prompts": "package:rilbench_shapes/prompts/search.txt",
    "evaluate.images_per_prompt": 2,
    "evaluate.metrics": [*REWARDS, "structure", "oracle"],
}


class Trial(NamedTuple):
    """One trial: its knobs, its gain (joint: in targets), and what the images keep."""

    rate: float
    own: float
    gain: float
    structure: float


class Point(NamedTuple):
    """Where a value of the own knob meets the target, interpolated."""

    rate: float
    own: float
    structure: float


def meets(trials: Sequence[Trial], own: float, target: float) -> Point | None:
    """The lowest learning rate at which the gain meets the target; None if the trials of this own knob do not enclose
    it."""
    line = sorted(trial for trial in trials if trial.own == own)
    for low, high in pairwise(line):
        if low.gain <= target <= high.gain:
            share = (target - low.gain) / (high.gain - low.gain) if high.gain > low.gain else 0.0
            rate = math.exp((1 - share) * math.log(low.rate) + share * math.log(high.rate))
            return Point(rate, own, (1 - share) * low.structure + share * high.structure)
    return None


def best(trials: Sequence[Trial], target: float) -> list[Point]:
    """A point for every value of the own knob that meets the target, the one with the most structure first."""
    points = [meets(trials, own, target) for own in {trial.own for trial in trials}]
    return sorted((point for point in points if point), key=lambda point: -point.structure)


def following(trials: Sequence[Trial], target: float) -> tuple[float, float]:
    """Learning rate and own knob of the next trial, by point 3 of the rule."""
    known = sorted({trial.own for trial in trials})
    for own in known:
        line = sorted(trial for trial in trials if trial.own == own)
        rate = line[0].rate / 2 if line[0].gain > target else line[-1].rate * 2
        if meets(trials, own, target) is None and RATES[0] / FARTHEST <= rate <= RATES[-1] * FARTHEST:
            return rate, own
    points = best(trials, target)
    if not points:
        raise typer.BadParameter(f"no value of the own knob meets the target of {target:.4g}; widen the first trials")
    first = points[0]
    if first.own in (known[0], known[-1]) and first.own != 0.0:
        own = first.own / STEP if first.own == known[0] else first.own * STEP
        return round_to(first.rate, 2), round_to(own, 2)
    near = [abs(math.log(trial.rate / first.rate)) < CLOSE for trial in trials if trial.own == first.own]
    if not any(near):
        return round_to(first.rate, 2), first.own
    second = points[1] if len(points) > 1 else first
    between = math.sqrt(first.own * second.own) if first.own and second.own else (first.own + second.own) / 2
    tried = [trial for trial in trials if math.isclose(trial.own, round_to(between, 2))]
    rate = math.sqrt(first.rate * second.rate)
    return round_to(rate * 1.5 ** len(tried), 2), round_to(between, 2)


def round_to(value: float, digits: int) -> float:
    """A value with so many significant digits."""
    return float(f"{value:.{digits}g}")


app = typer.Typer(no_args_is_help=True)
Record = dict[str, list[dict[str, Any]]]  # of a strategy: the trials of each reward
Store = Annotated[Path, typer.Option(help="Store of the runs; finished trials come from it")]


@app.command()
def run(strategy: Annotated[str, typer.Option(help="baseline, rid or joint")], store: Store = Path("search")) -> None:
    """Run a strategy's trials and record each in docs/data/search/STRATEGY.json."""
    made: Record = {}
    for reward in [JOINT] if strategy == "joint" else REWARDS:
        made[reward] = []
        for number in range(TRIALS):
            owns = SCALES[reward] if strategy == "rid" else DECAYS
            rate, own = RATES[number % len(RATES)], owns[number // len(RATES) % len(owns)]
            if number >= FIRST:
                trials, target = judged(strategy, reward, made)
                rate, own = following(trials, target)
            made[reward].append(_trial(strategy, reward, rate, own, store))
            with replacing(DATA / f"{strategy}.json") as part:
                part.write_text(json.dumps(made, indent=1) + "\n")


@app.command()
def choose() -> None:
    """Print every recorded trial as a Markdown table, and the choices."""
    typer.echo("| strategy | reward | learning rate | own knob | gain / target | structure | oracle |")
    typer.echo("|---|---|---:|---:|---:|---:|---:|")
    chosen = []
    for strategy in OWN:
        for reward, rows in recorded(strategy).items():
            trials, target = judged(strategy, reward, {reward: rows})
            for row, trial in zip(rows, trials, strict=True):
                shown = f"{trial.gain / target:.2f} | {trial.structure:.3f} | {row['after']['oracle']:.1f}"
                typer.echo(f"| {strategy} | {reward} | {trial.rate:g} | {OWN[strategy]} {trial.own:g} | {shown} |")
            for name, share in FRONT.items():
                chosen.append((strategy, reward, name, share * target, best(trials, share * target)))
    typer.echo("\n| strategy | reward | point | gain | choice | structure | the other values of the own knob |")
    typer.echo("|---|---|---|---:|---|---:|---|")
    for strategy, reward, name, target, points in chosen:
        first, *others = [f"lr {p.rate:.2g}, {OWN[strategy]} {p.own:g} | {p.structure:.3f}" for p in points] or [
            "- | -"
        ]
        rest = "; ".join(other.replace(" | ", ": ") for other in others)
        typer.echo(f"| {strategy} | {reward} | {name} | {target:.4g} | {first} | {rest} |")


def judged(strategy: str, reward: str, made: Record) -> tuple[list[Trial], float]:
    """The trials of a reward, and the target by point 1 of the rule."""
    targets = {}
    if strategy != "baseline":
        targets = {name: judged("baseline", name, recorded("baseline"))[1] for name in REWARDS}
    trials = [
        Trial(row["lr"], row["own"], _gain(row["gain"], reward, targets), row["after"]["structure"])
        for row in made[reward]
    ]
    if strategy == "rid":
        return trials, targets[reward]
    first = [trial.gain for trial in trials[:FIRST] if trial.own == 0.0 or reward == JOINT]
    return trials, SHARE * max(first)


def _gain(gains: dict[str, float], reward: str, targets: dict[str, float]) -> float:
    return fmean(gains[name] / targets[name] for name in REWARDS) if reward == JOINT else gains[reward]


def recorded(strategy: str) -> Record:
    """The trials on record; a strategy that needs the baseline's targets needs its first nine trials."""
    file = DATA / f"{strategy}.json"
    if not file.exists():
        raise typer.BadParameter(f"there are no trials of {strategy}; run them first")
    found: Record = json.loads(file.read_text())
    return found


def _trial(strategy: str, reward: str, rate: float, own: float, store: Path) -> dict[str, Any]:
    recipe = {"lr": rate, OWN[strategy]: own} | ({"samples": 320 * len(REWARDS)} if reward == JOINT else {})
    settings = SETTINGS | {f"recipes.{strategy}.{reward}.{key}": value for key, value in recipe.items()}
    made = rilbench.run(strategy=strategy, rewards=reward.split("+"), settings=settings, seed=SEED, store=store)
    base, row = made.result.matrix.rows
    return {
        "lr": rate,
        "own": own,
        "gain": {r: row.values[r] - base.values[r] for r in REWARDS},
        "after": dict(row.values),
        "run": made.result.name,
    }


if __name__ == "__main__":
    app()
