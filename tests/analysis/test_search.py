"""The rule of `benchmarks/search.py`: what is tried next, and what is chosen."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

FILE = Path(__file__).parents[2] / "benchmarks" / "search.py"


@pytest.fixture(scope="module")
def search() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["search"] = module
    spec.loader.exec_module(module)
    return module


def line(search: ModuleType, own: float, *points: tuple[float, float, float]) -> list[object]:
    return [search.Trial(rate, own, gain, structure) for rate, gain, structure in points]


def test_the_target_is_met_between_two_trials(search: ModuleType) -> None:
    trials = line(search, 0.0, (1e-3, 1.0, 0.9), (4e-3, 2.0, 0.5))
    point = search.meets(trials, 0.0, 1.5)
    assert point.rate == pytest.approx(2e-3)  # half way along the logarithm
    assert point.structure == pytest.approx(0.7)
    assert search.meets(trials, 0.0, 2.5) is None


def test_the_choice_keeps_the_most_structure_at_the_same_gain(search: ModuleType) -> None:
    trials = line(search, 0.0, (1e-3, 1.0, 0.9), (4e-3, 2.0, 0.5))
    trials += line(search, 20.0, (1e-3, 0.5, 0.95), (4e-3, 1.6, 0.8))
    first, second = search.best(trials, 1.5)
    assert (first.own, second.own) == (20.0, 0.0)
    assert first.structure > second.structure


@pytest.mark.parametrize(("gains", "rate"), [((0.1, 0.2), 8e-3), ((2.0, 3.0), 5e-4)])
def test_an_edge_of_the_learning_rates_is_extended(search: ModuleType, gains: tuple[float, float], rate: float) -> None:
    trials = line(search, 0.0, (1e-3, gains[0], 0.9), (4e-3, gains[1], 0.8))
    assert search.following(trials, 1.0) == (rate, 0.0)


def test_learning_rates_are_extended_by_a_factor_of_four_at_most(search: ModuleType) -> None:
    weak = line(search, 60.0, (1e-3, 0.1, 0.99), (18e-3, 0.2, 0.98))
    trials = weak + line(search, 0.0, (1e-3, 0.5, 0.9), (4e-3, 1.5, 0.8))
    assert search.following(trials, 1.0)[1] == 0.0


def test_an_edge_of_the_own_knob_is_extended_unless_it_is_zero(search: ModuleType) -> None:
    worse, better = ((1e-3, 0.5, 0.9), (4e-3, 1.5, 0.5)), ((1e-3, 0.5, 0.9), (4e-3, 1.5, 0.8))
    assert search.following(line(search, 20.0, *worse) + line(search, 60.0, *better), 1.0)[1] == 180.0
    assert search.following(line(search, 5.0, *better) + line(search, 15.0, *worse), 1.0)[1] == 1.7
    assert search.following(line(search, 0.0, *better) + line(search, 20.0, *worse), 1.0) == (2e-3, 0.0)


def test_trials_end_inside_the_knobs_they_tried(search: ModuleType) -> None:
    """On a smooth model of a strategy with its best own knob outside the first values."""

    def model(rate: float, own: float) -> tuple[float, float]:
        gain = 1 - math.exp(-rate / 1e-3 * own / (own + 1))
        return gain, 1 - 0.2 * gain - 0.05 * math.log(own / 6) ** 2

    grid = [(rate, own) for own in (0.1, 0.3, 0.9) for rate in search.RATES]
    trials: list[object] = []
    for number in range(30):
        rate, own = grid[number] if number < len(grid) else search.following(trials, 0.6)
        trials.append(search.Trial(rate, own, *model(rate, own)))
    chosen = search.best(trials, 0.6)[0]
    assert min(t.own for t in trials) < chosen.own < max(t.own for t in trials)
    assert chosen.own == pytest.approx(6, rel=0.7)


def test_every_recorded_strategy_has_the_same_trials_and_a_choice_inside_them(search: ModuleType) -> None:
    files = sorted(search.DATA.glob("*.json"))
    assert [file.stem for file in files] == ["baseline", "joint", "rid"]
    for file in files:
        for reward, rows in json.loads(file.read_text()).items():
            assert len(rows) == search.TRIALS
            trials, target = search.judged(file.stem, reward, {reward: rows})
            chosen = search.best(trials, target)[0]
            owns, rates = sorted({t.own for t in trials}), [t.rate for t in trials if t.own == chosen.own]
            assert min(rates) <= chosen.rate <= max(rates)
            assert chosen.own in (0.0, *owns[1:-1])


def test_the_page_shows_the_recorded_trials(search: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    search.choose()
    assert capsys.readouterr().out.strip() in (FILE.parents[1] / "docs" / "evidence.md").read_text("utf-8")


def test_the_configuration_has_the_choices(search: ModuleType) -> None:
    recipes = yaml.safe_load((FILE.parents[1] / "configs" / "shapes.yaml").read_text())["recipes"]
    for strategy, own in search.OWN.items():
        for reward, rows in search.recorded(strategy).items():
            first = search.best(*search.judged(strategy, reward, {reward: rows}))[0]
            recipe = recipes[strategy]["any" if strategy == "joint" else reward]
            assert float(recipe["lr"]) == search.round_to(first.rate, 2)
            assert recipe[own] == first.own
