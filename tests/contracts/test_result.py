"""Forgetting (Eq. 3) against the paper's second table, transfers by hand, randomness."""

from __future__ import annotations

import math

import pytest
import torch

from rilbench.analysis.quantities import Quantity, value
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.model.randomness import evaluation_noise
from rilbench.store.tables import rows as terminal_rows

METRICS = (
    MetricInfo(name="aesthetic", higher_is_better=True, target_of=("aesthetic",)),
    MetricInfo(name="hps", higher_is_better=True, target_of=("hps",)),
    MetricInfo(name="png", higher_is_better=False, unit="kB", target_of=("compressibility",)),
    MetricInfo(name="jpeg", higher_is_better=False, unit="kB", target_of=("compressibility",)),
    MetricInfo(name="clip", higher_is_better=True),
    MetricInfo(name="fid", higher_is_better=False),
)
BASE = (5.23, 0.259, 425.13, 50.40, 25.77, 71.54)
ORDER = ("aesthetic", "hps", "compressibility")
# values after each stage and the forgetting the paper prints; None where it prints "-" (Table 2)
PAPER = {
    "baseline": (
        ((6.07, 0.257, 409.78, 55.73, 22.74, 85.53), (None, None, None, None, 3.03, 13.99)),
        ((5.79, 0.282, 415.96, 58.91, 23.19, 89.71), (0.28, None, None, None, 2.58, 18.17)),
        ((4.98, 0.249, 316.89, 34.20, 22.39, 104.85), (1.09, 0.033, None, None, 3.38, 33.31)),
    ),
    "rid": (
        ((6.03, 0.267, 443.57, 60.41, 25.76, 79.40), (None, None, None, None, 0.01, 7.86)),
        ((5.94, 0.276, 451.70, 68.01, 25.46, 80.04), (0.09, None, None, None, 0.31, 8.50)),
        ((5.55, 0.272, 373.63, 40.50, 25.00, 80.28), (0.48, 0.004, None, None, 0.77, 8.74)),
    ),
}


def paper(method: str) -> ResultMatrix:
    names = [m.name for m in METRICS]
    rows = [Row(label="base", values=dict(zip(names, BASE, strict=True)))]
    for reward, (values, _) in zip(ORDER, PAPER[method], strict=True):
        rows.append(Row(label=reward, rewards=(reward,), values=dict(zip(names, values, strict=True))))
    return ResultMatrix(tuple(rows), METRICS)


@pytest.mark.parametrize("method", ["baseline", "rid"])
def test_forgetting_is_the_papers_second_table(method: str) -> None:
    matrix = paper(method)
    for stage, (_, printed) in enumerate(PAPER[method], start=1):
        for info, expected in zip(METRICS, printed, strict=True):
            assert matrix.masked(info.name, stage) == (expected is None), (info.name, stage)
            if expected is not None:
                assert matrix.forgetting(info.name, stage) == pytest.approx(expected, abs=0.006)


def test_a_target_trained_again_with_others_shows_what_it_lost() -> None:
    """`a` reaches 5, falls to 3 and, trained again with b, comes back to 4 only: F = 1. Of b there is nothing yet."""
    info = tuple(MetricInfo(name=name, higher_is_better=True, target_of=(name,)) for name in "ab")
    stages = (((), 1.0, 1.0), (("a",), 5.0, 1.0), (("c",), 3.0, 1.0), (("a", "b"), 4.0, 2.0), (("a",), 4.5, 1.5))
    rows = tuple(Row(label="", rewards=rewards, values={"a": a, "b": b}) for rewards, a, b in stages)
    matrix = ResultMatrix(rows, info)
    assert [matrix.masked("a", i) for i in range(5)] == [True, True, False, False, True]
    assert [matrix.masked("b", i) for i in range(5)] == [True, True, True, True, False]
    assert matrix.forgetting("a", 3) == 1
    result = RunResult(name="x", strategy="own", rewards=("a", "b"), seed=0, matrix=matrix)
    assert [row[1] for row in terminal_rows(result)][3] == "4.000 (1.000)"
    shown = RunResult(name="x", strategy="own", rewards=("a", "b"), seed=0, matrix=ResultMatrix(rows[:4], info))
    assert value(shown, Quantity.FORGETTING, "a") == 1
    assert math.isnan(value(shown, Quantity.FORGETTING, "b"))
    assert shown.to_json()["stages"][3]["forgetting"] == {"a": 1}


def test_forgetting_is_never_negative_and_ignores_what_was_not_measured() -> None:
    info = (MetricInfo(name="m", higher_is_better=True),)
    rows = [Row(label=str(i), values={} if math.isnan(v) else {"m": v}) for i, v in enumerate([1.0, math.nan, 3.0])]
    matrix = ResultMatrix(tuple(rows), info)
    assert matrix.forgetting("m") == 0
    assert math.isnan(matrix.forgetting("m", 1))


def test_transfers_by_hand() -> None:
    matrix = paper("baseline")
    assert matrix.learned("aesthetic") == pytest.approx(6.07 - 5.23)
    assert matrix.backward_transfer("aesthetic") == pytest.approx(4.98 - 6.07)
    assert matrix.forward_transfer("hps") == pytest.approx(0.257 - 0.259)
    assert matrix.forward_transfer("aesthetic") == 0


def test_result_survives_json() -> None:
    result = RunResult(name="x", strategy="rid", rewards=ORDER, seed=3, matrix=paper("rid"), plugins={"a": "b"})
    assert RunResult.from_json(result.to_json()) == result


def test_evaluation_noise_depends_on_seed_prompt_and_index_only() -> None:
    a = evaluation_noise(0, "a cat", range(0, 4), (2, 3, 3))
    b = evaluation_noise(0, "a cat", range(2, 4), (2, 3, 3))
    assert torch.equal(a[2:], b)
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a, evaluation_noise(1, "a cat", range(0, 4), (2, 3, 3)))
    assert not torch.equal(a, evaluation_noise(0, "a dog", range(0, 4), (2, 3, 3)))
