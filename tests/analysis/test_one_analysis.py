"""compare and the report give one answer to one question; the overview of a study is compare's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from stores import BACKWARDS, FORWARDS, A, C, H, save

from rilbench.analysis.comparison import compare
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.sources import load_runs
from rilbench.contracts.result import RunResult
from rilbench_compare.records import records
from rilbench_report.study import QUANTITIES, Study

MEASURED = [(Quantity.AVERAGE, "SD"), *((Quantity.FINAL, name) for name in (A, H, C, "png_kb", "fid", "oracle"))]
LEARNED = (Quantity.AVERAGE_LEARNED, "SD")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunResult]:
    """Two orders and three seeds of a sequence and another, and a merge that is one model in both orders."""
    store: Path = tmp_path_factory.mktemp("store")
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS), range(3)):
        save(store, "rid", rewards, seed)
        save(store, "baseline", rewards, seed, shift=-0.03)
        save(store, "soup", rewards, seed, stages=[f"{reward}{seed}" for reward in rewards], merge=True)
    return load_runs([str(store)], lambda source: [])


@pytest.mark.slow
def test_means(runs: list[RunResult]) -> None:
    compared = {(r["label"], r["quantity"], r["metric"]): r for r in of_compare(runs)["means"]}
    study = Study.about(runs)
    for label, (quantity, metric) in itertools.product(study.labels, (*MEASURED, LEARNED)):
        row, spread = compared[label, quantity, metric], study.spread(label, quantity, metric)
        assert (spread.n, spread.mean, spread.high) == (row["n"], row["mean"], pytest.approx(row["high"], nan_ok=True))
    assert compared["soup", "final", A]["n"] == 3  # seeds


@pytest.mark.slow
def test_differences(runs: list[RunResult]) -> None:
    """The question names all the tests: p is corrected over them."""
    two = [run for run in runs if run.label in ("rid", "baseline")]
    compared = {(r["quantity"], r["metric"]): r for r in of_compare(two)["differences"]}
    study = Study.about(two)
    reported = {(q, metric): test for q in QUANTITIES for (_, metric), test in study.tests(q).items()}
    assert 0 < min(compared[key]["p_holm"] for key in MEASURED) < 0.5
    for key in MEASURED:
        row = compared[key]
        for name in ("n", "p", "p_holm"):
            assert reported[key][name] == pytest.approx(row[name])


def of_compare(runs: list[RunResult]) -> dict[str, list[dict[str, object]]]:
    return records(compare(runs, quantities=QUANTITIES, warn=pytest.fail))
