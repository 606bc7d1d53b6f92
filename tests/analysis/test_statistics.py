"""The unit of inference, tests that do not exist, and the planning of seeds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from stores import A, C, H, save

from rilbench.analysis.crossed import crossed
from rilbench.analysis.power import seeds_needed
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import differences, means
from rilbench.analysis.table import long_table, quantity_table

ORDERS = ((A, H, C), (A, C, H), (H, A, C))


def table(values: dict[tuple[str, str, int], float], **models: str) -> pd.DataFrame:
    """A quantity table of one metric by label, order and seed; models: of runs that share one, by label."""
    rows = [
        {"label": label, "order": order, "seed": seed, "value": value, "quantity": "final", "metric": "m"}
        | {"run": f"{label}{order}{seed}", "model": f"{models.get(label, label + order)}{seed}"}
        for (label, order, seed), value in values.items()
    ]
    return pd.DataFrame(rows)


def test_a_value_of_a_seed_is_the_mean_over_its_orders() -> None:
    (row,) = means(table({("rid", o, s): 10 * s + i for s in range(3) for i, o in enumerate("xyz")})).to_dict("records")
    assert (row["n"], row["mean"], row["sd"]) == (3, 11, 10)


def test_only_orders_and_seeds_of_both_are_paired() -> None:
    rid = {("rid", o, s): float(s + i) for s in range(3) for i, o in enumerate("xy")}
    other = {("new", "x", 0): 2.0, ("new", "x", 1): 2.5, ("new", "z", 2): 9.0}
    (test,) = differences(table(rid | other)).to_dict("records")
    assert (test["matched"], test["n"], test["mean"]) == (2, 2, 1.75)
    assert test["p"] == pytest.approx(stats.ttest_1samp([2.0, 1.5], 0).pvalue)
    (alone,) = differences(table(rid | {("new", "z", 0): 1.0})).to_dict("records")
    assert (alone["n"], alone["untested"], alone["significant"]) == (0, "no pair", False)


def test_six_orders_of_one_seed_are_no_test() -> None:
    (test,) = differences(table({(m, o, 4): i * len(m) for i, o in enumerate("uvwxyz") for m in ("rid", "other")}))[
        ["matched", "n", "p", "low", "seeds_needed", "untested"]
    ].to_dict("records")
    assert (test["matched"], test["n"], test["untested"]) == (6, 1, "one seed")
    assert all(math.isnan(test[name]) for name in ("p", "low", "seeds_needed"))


def test_equal_differences_are_no_test() -> None:
    """0.1 + 0.3 is not 0.4 in binary."""
    values = {("rid", "x", s): v for s, v in enumerate((0.1, 0.0, 0.3))}
    (test,) = differences(table(values | {("new", "x", s): v + 0.4 for (_, _, s), v in values.items()})).to_dict(
        "records"
    )
    assert (test["n"], test["sd"], test["untested"], test["significant"]) == (3, 0, "equal differences", False)
    assert math.isnan(test["p"])
    cells = np.tile([0.1, 0.2, 0.4], (3, 1))  # prompts differ, seeds do not
    for each in (cells, cells.T, cells[:1], cells[:, :1]):
        assert all(map(math.isnan, crossed(each)))


def test_models_after_a_stage_count_once(tmp_path: Path) -> None:
    """Two of three orders begin with the same stage."""
    for seed in range(2):
        for order in ORDERS:
            save(tmp_path, "rid", order, seed, stages=["-".join((*order[:t], str(seed))) for t in (1, 2, 3)])
    runs = load_runs([str(tmp_path)], lambda source: [])
    first = quantity_table(runs, (Quantity.FINAL,), names=["fid"], stage=1)
    last = quantity_table(runs, (Quantity.FINAL,), names=["fid"])
    assert (first["model"].nunique(), last["model"].nunique()) == (4, 6)
    models = long_table(runs).groupby("stage")["model"].nunique()
    assert models.to_dict() == {0: 6, 1: 4, 2: 6, 3: 6}
    of = {run.name: run.matrix.rows[1].values["fid"] for run in runs}
    seeds = [
        np.mean([of[f"rid-{A}-{C}-{H}-seed{s}"], of[f"rid-{H}-{A}-{C}-seed{s}"]]) for s in range(2)
    ]  # the first of those that share a model
    (row,) = means(first).to_dict("records")
    assert (row["n"], row["mean"]) == (2, pytest.approx(np.mean(seeds)))


def test_over_seeds_and_prompts_is_never_surer_than_over_seeds() -> None:
    rng = np.random.default_rng(0)
    for seeds, of_prompts in ((2, 0.0), (5, 0.0), (5, 1.0)):
        cells = 0.3 + rng.standard_normal((seeds, 20)) + of_prompts * rng.standard_normal(20)
        low, high, p = crossed(cells)
        own = stats.ttest_1samp(cells.mean(1), 0)
        assert high - low >= np.diff(own.confidence_interval())[0] - 1e-12
        assert p >= own.pvalue - 1e-12
        assert (low + high) / 2 == pytest.approx(cells.mean())
        assert (p < 0.05) == (low * high > 0)


@pytest.mark.parametrize(("difference", "sd"), [(1.0, 1.0), (-0.02, 0.03), (1.0, 0.4), (0.1, 1.0), (0.05, 1.0)])
def test_seeds_needed_have_the_power(difference: float, sd: float) -> None:
    n = int(seeds_needed(difference, sd))

    def power(n: int) -> float:
        limit, shift = stats.t.ppf(0.975, n - 1), abs(difference) / sd * math.sqrt(n)
        return float(stats.nct.sf(limit, n - 1, shift) + stats.nct.cdf(-limit, n - 1, shift))

    assert power(n) >= 0.8
    assert n == 2 or power(n - 1) < 0.8


def test_no_number_of_seeds_finds_no_difference() -> None:
    assert np.isnan(seeds_needed([0.0, 1.0, math.nan, 1.0], [1.0, 0.0, 1.0, math.nan])).all()
