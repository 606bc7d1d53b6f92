"""How often the intervals of `rilbench compare` and `report` contain the true value, in simulated studies.

    python benchmarks/coverage_seeds.py [REPEATS]       # default 10000, about four minutes

A study is six orders of three rewards: a tree of 15 stages, in which orders with a common beginning share stages. A
stage's effect has a part of its seed, partly common to both methods, a part of the prompt, skewed and the same for all
seeds, and a part of both. All are in units of the SD between prompts of a final score, and of the size they have in
docs/data/study_shapes_2026-11.jsonl.gz: the SD between the seeds of an order is 0.2 to 0.6, that of a difference 0.6
to 1.0, that between orders 0.4 to 1.9.

Every repeat is a metric of one quantity table, so that the functions of rilbench.analysis are tested as they are.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from rilbench.analysis.statistics import differences, means, per_seed, spreads
from rilbench_report.checks import ratio

Array = NDArray[np.float64]
ORDERS = list(itertools.permutations("ahc"))
NODES = sorted({order[:t] for order in ORDERS for t in (1, 2, 3)}, key=lambda node: (len(node), node))
PATHS = np.array([[NODES.index(order[:t]) for t in (1, 2, 3)] for order in ORDERS])  # (orders, stages)
LABELS = ("rid", "baseline", "joint")  # joint: one model per seed, whatever the order
PROMPTS, IMAGES = 50, 4
STAGE, COMMON = 0.4, 0.25  # SD between seeds; share of its variance that methods have in common
PROMPT, CELL, IMAGE = 0.4, 0.3, 0.6  # SD between prompts, of seed and prompt, between images of a prompt
MEAN = np.array([0.5, 0.3, 0.4])  # effect of a stage, by label
LIMITS = (0.93, 0.97)
BATCH, AT_ONCE = 2000, 200  # repeats, to bound the memory


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is simulated. kept: of a stage's effect after another stage. orders: SD between the stages' mean effects.
    whole: SD of the effect that all stages of a seed share. skewed: effects of seeds are exponential, not normal."""

    seeds: int = 5
    kept: float = 0.6
    orders: float = 0.4
    whole: float = 0.0
    skewed: bool = False


CASES = {
    "5 seeds": Case(),
    "2 seeds": Case(seeds=2),
    "3 seeds": Case(seeds=3),
    "10 seeds": Case(seeds=10),
    "orders alike": Case(kept=1.0, orders=0.0),
    "whole seeds": Case(whole=0.4),
    "skewed seeds": Case(whole=0.4, skewed=True),
}


def skewed(rng: np.random.Generator, size: tuple[int, ...]) -> Array:
    """Exponential, with mean 0 and SD 1."""
    return rng.standard_exponential(size) - 1


def studies(repeats: int, case: Case, rng: np.random.Generator, *, same_prompts: bool) -> Iterator[tuple[Array, Array]]:
    """The values after every stage (r, labels, S, nodes), and the final scores of prompts (r, labels, S, orders, P).

    same_prompts: in all repeats, as the question about training again has it.
    """
    draw = skewed if case.skewed else np.random.Generator.standard_normal
    effects = MEAN[:, None] + case.orders * np.random.default_rng(1).standard_normal((len(LABELS), len(NODES)))
    fixed = skewed(rng, (1, len(LABELS), 1, len(NODES), PROMPTS))
    for start in range(0, repeats, AT_ONCE):
        r = min(AT_ONCE, repeats - start)
        shape = (r, len(LABELS), case.seeds, len(NODES))
        own, common = draw(rng, shape), draw(rng, (r, 1, *shape[2:]))
        of_seeds = effects[:, None] + STAGE * (np.sqrt(1 - COMMON) * own + np.sqrt(COMMON) * common)
        of_seeds = of_seeds + case.whole * draw(rng, (*shape[:3], 1))
        of_prompts = fixed if same_prompts else skewed(rng, (r, len(LABELS), 1, len(NODES), PROMPTS))
        scores = of_seeds[..., None] + PROMPT * of_prompts + CELL * rng.standard_normal((*shape, PROMPTS))
        for i, node in enumerate(NODES):
            if len(node) > 1:
                scores[:, :, :, i] += case.kept * scores[:, :, :, NODES.index(node[:-1])]
        scores += IMAGE / np.sqrt(IMAGES) * rng.standard_normal(scores.shape)  # of this stage's images only
        scores[:, 2] = scores[:, 2, :, :1]
        yield scores.mean(-1), scores[:, :, :, PATHS[:, -1]]


def frame(values: Array, stage: int, quantity: str = "final") -> pd.DataFrame:
    """A quantity table of values (R, labels, S, orders); every repeat is a metric."""
    names, labels, seeds, orders = map(np.ravel, np.indices(values.shape))
    model = (labels * 100 + seeds) * 100 + np.where(labels == 2, 0, PATHS[orders, stage])
    texts = {
        "metric": (names, list(map(str, range(len(values))))),
        "label": (labels, LABELS[: values.shape[1]]),
        "order": (orders, [" > ".join(order) for order in ORDERS]),
        "run": ((labels * seeds.max() + labels + seeds) * 6 + orders, None),
        "quantity": (np.zeros_like(names), [quantity]),
    }
    found = {
        name: pd.Categorical.from_codes(codes, range(codes.max() + 1) if known is None else known, ordered=True)
        for name, (codes, known) in texts.items()
    }
    return pd.DataFrame(found | {"seed": seeds, "model": model, "value": values.ravel()})


def contains(found: pd.DataFrame, truth: Any, low: str = "low", high: str = "high") -> float:
    return float(((found[low] <= truth) & (truth <= found[high])).mean())


def of(found: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        found = found[found[column] == value]
    return found


def training_again(after: Array) -> dict[str, float]:
    """Coverage for other seeds on these prompts; after: (R, labels, S, nodes). The truth is the mean of all repeats."""
    final = after[..., PATHS[:, -1]]
    history = np.stack([np.zeros_like(final), *(after[..., PATHS[:, t]] for t in range(3))])
    lost = (history.max(0) - final)[:, :2]
    first = after[:, :2, :, PATHS[:, 0]]
    table, forgetting = frame(final, 2), frame(lost, 2, "forgetting")
    gaps = differences(table, "rid")
    truth = final.mean((0, 2))  # (labels, orders)
    one = " > ".join(ORDERS[0])
    pairs = (final[:, 1] - final[:, 0]).reshape(len(final), -1)  # runs as the unit
    gap = float(truth[1].mean() - truth[0].mean())
    return {
        "mean of a method": contains(of(means(table), label="rid"), truth[0].mean()),
        "mean of one order": contains(of(means(table, ("label", "order")), label="rid", order=one), truth[0, 0]),
        "mean after stage 1, 3 models a seed": contains(of(means(frame(first, 0)), label="rid"), first[:, 0].mean()),
        "mean forgetting": contains(of(means(forgetting), label="rid"), lost[:, 0].mean()),
        "difference": contains(of(gaps, label="baseline"), gap),
        "difference to one model a seed": contains(of(gaps, label="joint"), truth[2].mean() - truth[0].mean()),
        "difference of forgetting": contains(differences(forgetting, "rid"), lost[:, 1].mean() - lost[:, 0].mean()),
        "share of a gain (Fieller)": shares(final),
        "(runs as the unit) mean of a method": contains(spread(final[:, 0].reshape(len(final), -1)), truth[0].mean()),
        "(runs as the unit) mean, one model a seed": contains(
            spread(final[:, 2].reshape(len(final), -1)), truth[2].mean()
        ),
        "(runs as the unit) difference": contains(spread(pairs), gap),
    }


def spread(values: Array) -> pd.DataFrame:
    """`spreads` of every row."""
    rows = np.repeat(np.arange(len(values)), values.shape[1])
    return spreads(pd.Series(values.ravel()).groupby(rows))


def shares(final: Array) -> float:
    """Of the gains of rid, with those of disturbed images, of which a part is common."""
    seeds = per_seed(frame(final[:, :2], 2), ["label", "metric"]).to_numpy().reshape(2, len(final), -1)
    gains = np.stack([seeds[0] + 1, 0.5 * seeds[0] + 0.3 * seeds[1] + 0.4], -1)  # (R, S, 2)
    truth = gains[..., 1].mean() / gains[..., 0].mean()
    found = [share for pairs in gains if (share := ratio(pairs))]
    return float(np.mean([low <= truth <= high for _, low, high in found]))


def other_prompts(final: Array) -> dict[str, float]:
    """Coverage for other seeds and prompts; final: (R, labels, S, orders, P)."""
    table = frame(final.mean(-1), 2)
    scores: Mapping[Any, Any] = {
        run: {str(i): repeat for i, repeat in enumerate(final[:, label, seed, order])}
        for run, (label, seed, order) in enumerate(np.ndindex(final.shape[1:4]))
    }
    found = differences(table, "rid", scores)
    truth = final.mean((0, 2, 3, 4))
    cells = (final[:, 1] - final[:, 0]).mean(2)  # (R, S, P)
    return {
        "difference, seeds x prompts": contains(
            of(found, label="baseline"), truth[1] - truth[0], "low_crossed", "high_crossed"
        ),
        "difference to one model a seed, seeds x prompts": contains(
            of(found, label="joint"), truth[2] - truth[0], "low_crossed", "high_crossed"
        ),
        "(prompts as the unit) difference": contains(spread(cells.mean(1)), truth[1] - truth[0]),
    } | {f"({name}) difference": contains(way, truth[1] - truth[0]) for name, way in alternatives(cells).items()}


def alternatives(cells: Array) -> dict[str, pd.DataFrame]:
    """Other intervals of the mean of cells (R, S, P) with Satterthwaite's degrees of freedom."""
    _, s, p = cells.shape
    seeds, prompts, mean = cells.mean(2), cells.mean(1), cells.mean((1, 2))
    rest = cells - seeds[:, :, None] - prompts[:, None] + mean[:, None, None]
    freedom = np.array([s - 1, p - 1, (s - 1) * (p - 1)])
    squares = np.array(
        [p * seeds.var(1, ddof=1), s * prompts.var(1, ddof=1), (rest**2).sum((1, 2)) / freedom[2]]
    )  # MS of seeds, prompts and cells, (3, R)
    ways = {"unbiased variance, no bounds": np.array([1, 1, -1]), "MS_seed + MS_prompt": np.array([1, 1, 0])}
    found = {}
    for name, signs in ways.items():
        total = (signs[:, None] * squares).sum(0).clip(min=1e-12)
        half = stdtrit(total**2 / ((signs**2)[:, None] * squares**2 / freedom[:, None]).sum(0), 0.975)
        half *= np.sqrt(total / (s * p))
        found[name] = pd.DataFrame({"low": mean - half, "high": mean + half})
    return found


def coverage(repeats: int, case: Case, number: int = 0) -> dict[str, float]:
    """The coverage of every interval; names in brackets are ways to count that rilbench does not use."""
    rng = np.random.default_rng(number)
    again = np.concatenate([after for after, _ in studies(repeats, case, rng, same_prompts=True)])
    other = np.concatenate([final for _, final in studies(repeats, case, rng, same_prompts=False)])
    return training_again(again) | other_prompts(other)


def main(repeats: int) -> None:
    """Print the table of docs/evidence.md."""
    batches = range(max(1, repeats // BATCH))
    found = {
        name: pd.DataFrame([coverage(min(repeats, BATCH), case, batch) for batch in batches]).mean()
        for name, case in CASES.items()
    }
    print(f"| interval | {' | '.join(found)} |\n|---|{'---:|' * len(found)}")
    for row in found["5 seeds"].index:
        print(f"| {row} | {' | '.join(f'{100 * column[row]:.1f}' for column in found.values())} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
