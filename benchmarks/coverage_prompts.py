"""How often the 95 % interval of one evaluation contains the true mean over prompts, in simulated evaluations.

    python benchmarks/coverage_prompts.py --draws 4000

Prints a Markdown table. Evaluations have four images per prompt; a draw in which all prompts score the same has no
interval and does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.random import Generator

from rilbench.evaluation.intervals import interval

IMAGES = 4
PROMPTS = (10, 30, 50, 100)
MANY = 1_000_000  # prompts whose mean is the true one
Population = Callable[[Generator, int], np.ndarray]  # scores (prompts, images)


def oracle(rng: Generator, n: int) -> np.ndarray:
    """Share of five attributes in %, near 99 %: most prompts are always right, one in twelve is hard."""
    hard = rng.random(n) < 1 / 12
    share = np.where(hard, rng.beta(8, 1, n), 0.9995)
    return rng.binomial(5, share[:, None], (n, IMAGES)) * 20.0


def attributes(rng: Generator, n: int) -> np.ndarray:
    """Probability of a caption's attributes in %, mostly near 100."""
    return 100 / (1 + np.exp(-(3 + 1.5 * rng.standard_normal((n, 1)) + rng.standard_normal((n, IMAGES)))))


def structure(rng: Generator, n: int) -> np.ndarray:
    """SSIM to the base model's image, mostly near 1."""
    return 1 - rng.lognormal(-3.3, 0.6, (n, 1)) * rng.lognormal(0, 0.4, (n, IMAGES))


def aesthetic(rng: Generator, n: int) -> np.ndarray:
    """A reward without skewness; half of the variance is between prompts."""
    return 5 + 0.5 * rng.standard_normal((n, 1)) + 0.5 * rng.standard_normal((n, IMAGES))


def sizes(rng: Generator, n: int) -> np.ndarray:
    """File sizes in kB, skewed to the right."""
    return 2 * rng.lognormal(0, 0.5, (n, 1)) * rng.lognormal(0, 0.2, (n, IMAGES))


def waiting(rng: Generator, n: int) -> np.ndarray:
    """Exponential scores, skewness 2, all images of a prompt alike."""
    return rng.exponential(1.0, (n, 1)).repeat(IMAGES, 1)


POPULATIONS: tuple[Population, ...] = (oracle, attributes, structure, aesthetic, sizes, waiting)


def coverage(population: Population, prompts: int, *, draws: int, seed: int = 0) -> tuple[float, float]:
    """The share of intervals that contain the true mean, and the share of draws that have no interval."""
    rng = np.random.default_rng(seed)
    truth = population(rng, MANY).mean()
    bounds = [interval(torch.from_numpy(population(rng, prompts))) for _ in range(draws)]
    known = [each for each in bounds if each]
    return sum(low <= truth <= high for low, high in known) / len(known), 1 - len(known) / draws


def main(draws: Annotated[int, typer.Option(help="Simulated evaluations of each case")] = 4000) -> None:
    """Print the table."""
    typer.echo(f"| scores | {' | '.join(f'{count} prompts' for count in PROMPTS)} |")
    typer.echo(f"|---|{'---:|' * len(PROMPTS)}")
    for population in POPULATIONS:
        cells = []
        for count in PROMPTS:
            covered, without = coverage(population, count, draws=draws)
            cells.append(f"{100 * covered:.1f} %" + (f" ({100 * without:.0f} % none)" if without > 0.005 else ""))
        typer.echo(f"| {population.__name__} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
