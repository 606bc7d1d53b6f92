"""The findings and `compare` give one answer to one question; the record is between them."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from stores import BACKWARDS, FORWARDS, A, C, H, save

from rilbench.analysis.comparison import Comparison, Row, compare
from rilbench.analysis.exchange import RAW, exchange_rates
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.sources import load_runs
from rilbench.analysis.units import Units

sys.path.insert(0, str(ROOT / "benchmarks"))
import record
from findings_study import Effect, Study

QUANTITIES = (Quantity.FINAL, Quantity.LEFT, Quantity.LEARNED, Quantity.AVERAGE, Quantity.AVERAGE_LEARNED)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("store")
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS, (H, A, C)), range(3)):
        save(folder, "rid", rewards, seed)
        save(folder, "baseline", rewards, seed, shift=0.05)
    return folder


@pytest.fixture(scope="module")
def compared(store: Path) -> Comparison:
    runs = load_runs([str(store)], lambda source: [])
    return compare(runs, quantities=QUANTITIES, against="rid", warn=pytest.fail)


@pytest.fixture(scope="module")
def study(store: Path) -> Study:
    record.write(store / "record", [str(store)])
    return Study(record.read(store / "record"))


def near(value: float) -> object:
    """Up to the digits of the record."""
    return pytest.approx(value, rel=2e-3, abs=1e-6)


def test_means(compared: Comparison, study: Study) -> None:
    for label, reward in itertools.product(("rid", "baseline"), (A, H, C)):
        for quantity, measure in (
            (Quantity.FINAL, study.final(reward)),
            (Quantity.LEFT, study.left(reward)),
            (Quantity.LEARNED, study.learned(reward)),
        ):
            row, spread = compared.row(label, quantity, reward), study.spread(label, measure)
            assert (spread.n, spread.mean, spread.high) == (row["n"], near(row["mean"]), near(row["high"]))


def test_aggregates(compared: Comparison, study: Study) -> None:
    for unit in ("SD", "single gain"):
        for quantity, measure in (
            (Quantity.AVERAGE, study.gain(unit)),
            (Quantity.AVERAGE_LEARNED, study.gain_learned(unit)),
        ):
            row, spread = compared.row("rid", quantity, unit), study.spread("rid", measure)
            assert (spread.n, spread.mean, spread.high) == (row["n"], near(row["mean"]), near(row["high"]))


def test_differences(compared: Comparison, study: Study) -> None:
    """Of scores of prompts over seeds and prompts, of FID over seeds."""
    rows: dict[str, Row] = {metric: row for (_, metric), row in compared.tests(Quantity.FINAL).items()}
    for metric in (A, H, C, "png_kb", "oracle"):
        effect, row = study.minus("baseline", "rid", study.final(metric)), rows[metric]
        assert (effect.seeds, effect.prompts) == (row["n"], row["prompts"])
        assert (effect.mean, effect.low, effect.high) == tuple(
            map(near, (row["mean"], row["low_crossed"], row["high_crossed"]))
        )
        assert effect.p == near(row["p_crossed"])
    effect, row = study.minus("baseline", "rid", study.final("fid")), rows["fid"]
    assert (effect.seeds, effect.prompts) == (row["n"], 0)
    assert (effect.mean, effect.low, effect.high, effect.p) == tuple(
        map(near, (row["mean"], row["low"], row["high"], row["p"]))
    )
    assert effect.needed == row["seeds_needed"]


def test_exchange_rates(store: Path, study: Study) -> None:
    runs = load_runs([str(store)], lambda source: [])
    rates = exchange_rates(runs, Units.of(runs))
    rows = rates[rates["scale"] == RAW].to_dict("records")
    assert len(rows) == 2 * 3 * 6  # methods, rewards and metrics
    for row in rows:
        effect = Effect.of(study.first_stage(row["label"], row["reward"], row["metric"]))
        assert (effect.seeds, effect.mean) == (row["n"], near(row["mean"]))
