"""How often the 95 % interval of one evaluation contains the true value, in simulated evaluations.

    python benchmarks/coverage_prompts.py means --draws 4000
    python benchmarks/coverage_prompts.py sets --draws 300

Prints a Markdown table: of means of scores, or of distances between sets of features. Evaluations have four images per
prompt; a draw in which all prompts score the same has no interval and does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.random import Generator

from rilbench.evaluation.intervals import interval, limits
from rilbench_metrics.feature_sets import FeatureSettings, Jackknife, leave_out
from rilbench_metrics.fid import FID

IMAGES = 4
PROMPTS = (10, 30, 50, 100)
MANY = 1_000_000  # prompts whose mean is the true one
app = typer.Typer()
Draws = Annotated[int, typer.Option(help="Simulated evaluations of each case")]
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


@app.command()
def means(draws: Draws = 4000) -> None:
    """Means of scores: six kinds of metric."""
    typer.echo(f"| scores | {' | '.join(f'{count} prompts' for count in PROMPTS)} |")
    typer.echo(f"|---|{'---:|' * len(PROMPTS)}")
    for population in POPULATIONS:
        cells = []
        for count in PROMPTS:
            covered, without = coverage(population, count, draws=draws)
            cells.append(f"{100 * covered:.1f} %" + (f" ({100 * without:.0f} % none)" if without > 0.005 else ""))
        typer.echo(f"| {population.__name__} | {' | '.join(cells)} |")


@app.command()
def sets(draws: Draws = 300) -> None:
    """FID of Gaussian features around the reference of `shapes`, half of the variance between prompts.

    fid is compared with the mean of fid over the draws, fid_inf with the distance of the Gaussians.
    """
    typer.echo("| shift | prompts | distance | mean of fid | mean of fid_inf | fid covered | fid_inf covered |")
    typer.echo("|---:|---:|---:|---:|---:|---:|---:|")
    for shift in (0.0, 0.5, 1.0):
        for count in PROMPTS[1:]:
            typer.echo(_row(shift, count, draws))


def _row(shift: float, count: int, draws: int) -> str:
    rng, metric = np.random.default_rng(0), FID(FeatureSettings())
    root = torch.linalg.cholesky(metric.cov + 1e-9 * torch.eye(metric.dim))
    apart = shift * root.diag()
    index = torch.arange(count).repeat_interleave(IMAGES)
    found: list[tuple[Jackknife, tuple[float, float]]] = []
    for _ in range(draws):
        between, within = rng.normal(size=(count, 1, metric.dim)), rng.normal(size=(count, IMAGES, metric.dim))
        white = torch.from_numpy((between + within) / 2**0.5).flatten(0, 1)
        jackknife = leave_out(metric.distance(metric.mean + apart + white @ root.T, index), index)
        found.append((jackknife, limits(0.0, jackknife.influences.numpy())))
    truth, values = float(apart.square().sum()), [one.value for one, _ in found]
    mean, corrected = np.mean(values), np.mean([one.corrected for one, _ in found])
    of_fid = np.mean([low <= mean - one.value <= high for one, (low, high) in found])
    of_inf = np.mean([low <= truth - one.corrected <= high for one, (low, high) in found])
    numbers = f"{truth:.2f} | {mean:.2f} | {corrected:.2f} | {100 * of_fid:.1f} % | {100 * of_inf:.1f} %"
    return f"| {shift} | {count} | {numbers} |"


if __name__ == "__main__":
    app()
