"""`benchmarks/findings.py` computes what it says."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from checkout import ROOT
from scipy import stats

from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult

sys.path.insert(0, str(ROOT / "benchmarks"))
import findings

AHC = ("aesthetic", "hps", "compressibility")
LAST = {"structure": 0.5, "oracle": 90.0}


def run(label: str, seed: int, final: dict[str, float], *, rewards: tuple[str, ...] = AHC) -> RunResult:
    """A run of three stages whose rewards rise at their own stage, from base values of 1, to `final` at the end."""
    names = [*findings.METRICS, *findings.HELD_OUT]
    rows = [Row(label="base", values=dict.fromkeys(names, 1.0))]
    for t, reward in enumerate(rewards, 1):
        values = {**rows[-1].values, reward: 2.0 + seed} if t < 3 else {**rows[-1].values, **LAST, **final}
        rows.append(Row(label=reward, rewards=(reward,), values=values))
    infos = tuple(
        MetricInfo(name=n, higher_is_better=n not in ("fid", "png_kb"), target_of=(n,) if n in AHC else ())
        for n in names
    )
    matrix = ResultMatrix(tuple(rows), infos)
    return RunResult(
        name=f"{label}-{'-'.join(rewards)}-{seed}",
        strategy="rid",
        label=label,
        rewards=rewards,
        seed=seed,
        matrix=matrix,
        status="finished",
    )


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The rows of the table just printed, first cell to the others."""
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_a_difference_is_paired_by_order_and_seed(capsys: pytest.CaptureFixture[str]) -> None:
    """Forgetting of the structure, from 1: RID 0.5, the baseline more, by seed."""
    worse = (0.10, 0.25, 0.30)
    runs = [run("rid", s, {}) for s in range(3)] + [
        run("baseline", s, {"structure": 0.5 - worse[s]}) for s in (2, 0, 1)
    ]
    findings.less_forgetting(findings.Runs([*runs, run("baseline", 9, {})]), "baseline")
    n, difference, less, _ = printed(capsys)["structure"]
    half = stats.t.ppf(0.975, 2) * np.std(worse, ddof=1) / math.sqrt(3)
    assert (n, less) == ("3", "3 of 3")
    assert [float(part) for part in difference.split(" ±")] == pytest.approx([np.mean(worse), half], abs=6e-4)
    findings.less_forgetting(findings.Runs(runs), "baseline")
    assert printed(capsys)["compressibility"][0] == "0"  # trained last: nothing to forget


def test_what_is_learned_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    final = {"aesthetic": 1.5, "hps": 0.5, "compressibility": 4.0}
    findings.gains(findings.Runs([run("rid", 0, final)]), ["rid"])
    learned, left = (1.0, 1.0, 3.0), (0.5, -0.5, 3.0)
    cells = [float(cell) for cell in printed(capsys)["rid"]]
    assert cells == pytest.approx([*learned, *left, 100 * np.mean(learned), 100 * np.mean(left)], abs=0.06)


def test_the_matched_point_drifts_least_of_those_that_reach_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    target = {"aesthetic": 2.0, "hps": 2.0, "compressibility": 2.0}
    less = {"aesthetic": 2.0, "hps": 2.0, "compressibility": 1.9}
    runs = [
        run("rid", 0, target),
        run("baseline", 0, target | {"structure": 0.2}),
        run("baseline-x0.75", 0, target | {"structure": 0.4, "oracle": 80.0}),
        run("baseline-x0.5", 0, less | {"structure": 0.8}),  # drifts less, but falls short
        run("baseline-x0.25", 0, less),
        run("soup", 0, less),
    ]
    findings.matched(findings.Runs(runs))
    rows = printed(capsys)
    assert rows["baseline, scaled"] == ["1 of 1", "-0.100", "-10.0", "0 of 1"]
    assert rows["soup"] == ["not reached (0 of 1)", "-", "-", "-"]
    assert "joint" not in rows


def test_learned_of_a_merge_is_what_its_stages_reached(capsys: pytest.CaptureFixture[str]) -> None:
    result = run("baseline-x0.5", 0, {"aesthetic": 1.5})
    matrix = result.matrix
    merged = replace(matrix, rows=(*matrix.rows, replace(matrix.rows[-1], label="merge", rewards=())))
    findings.gains(findings.Runs([replace(result, matrix=merged)]), ["baseline-x0.5"])
    cells = printed(capsys)["baseline-x0.5"]
    learned = (1.0, 1.0, 0.0)  # compressibility did not rise
    assert [float(cell) for cell in cells] == pytest.approx([*learned, 0.5, 1.0, 0.0, 66.7, 50.0])


def test_forgetting_grows_with_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    findings.by_stage(findings.Runs([run("rid", 0, {"fid": 4.0})]), ["rid"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "| fid |" in line]
    assert [line.strip("| ").split(" | ")[2:6] for line in lines] == [["0", "0", "3.00", "3.00"]]
