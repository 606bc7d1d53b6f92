"""Intervals over prompts: the unit, the correction for skewness by hand, limits within the range, and coverage."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from rilbench.evaluation.intervals import interval

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import coverage_prompts  # noqa: E402


def test_prompts_are_the_unit_not_images() -> None:
    """All images of a prompt alike: 10 prompts decide the width, however many images there are."""
    prompts = torch.arange(10.0)[:, None]
    assert interval(prompts.expand(10, 50)) == pytest.approx(interval(prompts))
    symmetric = stats.t.interval(0.95, 9, loc=4.5, scale=stats.sem(np.arange(10)))
    assert interval(prompts) == pytest.approx(symmetric)


def test_equal_prompts_have_no_interval() -> None:
    assert interval(torch.tensor([[0.3, 0.5]])) is None  # a single one
    assert interval(torch.full((8, 2), 0.1)) is None


def test_the_limits_solve_halls_equation() -> None:
    """T + g T^2 / 3 + g^2 T^3 / 27 + g / 6 is the quantile of Student's t at each limit."""
    scores = torch.from_numpy(np.random.default_rng(0).exponential(size=40))
    x, n = scores.numpy(), 40
    g = stats.skew(x) / n**0.5
    for limit, quantile in zip(interval(scores[:, None]), (0.975, 0.025), strict=True):
        t = (x.mean() - limit) / stats.sem(x)
        assert t + g * t**2 / 3 + g**2 * t**3 / 27 + g / 6 == pytest.approx(stats.t.ppf(quantile, n - 1))


def test_limits_near_a_ceiling_stay_below_it_and_reach_further_down() -> None:
    scores = torch.full((30, 1), 100.0)
    scores[:2] = torch.tensor([[80.0], [90.0]])
    low, high = interval(scores)
    assert high <= 100.0
    assert scores.mean() - low > 1.5 * (high - scores.mean())


def test_groups_of_prompts_are_one_observation() -> None:
    """Groups of the same size are like prompts with the mean of their scores; a group's size is its weight."""
    scores = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    pairs = [i // 2 for i in range(40)]
    assert interval(scores, groups=pairs) == pytest.approx(interval(scores.reshape(20, 4)))
    uneven = interval(scores, groups=[min(i, 35) for i in range(40)])
    assert uneven is not None
    assert uneven[0] < scores.mean() < uneven[1]


@pytest.mark.parametrize("population", coverage_prompts.POPULATIONS, ids=lambda p: p.__name__)
def test_95_percent_intervals_cover_about_95_percent(population: coverage_prompts.Population) -> None:
    """Of 600 draws: a standard error of 0.9 points. The symmetric interval covers 87 % near a ceiling."""
    covered, _ = coverage_prompts.coverage(population, 50, draws=600)
    assert 0.92 < covered < 0.98
