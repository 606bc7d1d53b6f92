"""The report's verdicts: what is ranked, paired differences, forgetting and ratios against numpy and scipy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rilbench.analysis.figures import Style, learned_forgotten, stage_curves
from rilbench.analysis.methods import told_apart
from rilbench.analysis.quantities import Quantity, average
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import Spread, holm
from rilbench.analysis.table import long_table
from rilbench.analysis.units import SD, Units
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.host.catalog import Catalog
from rilbench.store.files import write_json, write_text
from rilbench.store.results import load_result
from rilbench_report import tables
from rilbench_report.checks import checks, ratio
from rilbench_report.page import sentences, write_report
from rilbench_report.study import Study, environment
from rilbench_report.words import from_zero

SDS = {"a": 0.5, "b": 4.0}  # between the base model's prompts
NAMES = ("a", "b", "a@jpeg", "compressibility@jpeg")
METRICS = tuple(MetricInfo(name=name, higher_is_better=True, target_of=(name,)) for name in NAMES[:2]) + tuple(
    MetricInfo(name=name, higher_is_better=True) for name in NAMES[2:]
)
ORDERS = (("a", "b"), ("b", "a"))
Numbers = Sequence[Sequence[float]]  # of each stage: a, b, and a@jpeg


def made(
    label: str, order: tuple[str, ...], seed: int, numbers: Numbers, *, strategy: str = "", merged: bool = False
) -> RunResult:
    """A run of a stage a reward on one base model; `merged` adds a stage without rewards."""
    stages = [(), *((name,) for name in order), *([()] if merged else [])]
    name = f"{label}-{'-'.join(order)}-{seed}"
    rows = tuple(
        Row(
            label="+".join(rewards),
            rewards=rewards,
            stage_id=f"{name}-{i}" if i else "base",
            values=dict(zip(NAMES, numbers[i], strict=False)),
            sds=SDS,
        )
        for i, rewards in enumerate(stages)
    )
    return RunResult(
        name=name,
        strategy=strategy or label,
        label=label,
        rewards=order,
        seed=seed,
        matrix=ResultMatrix(rows, METRICS),
        status="finished",
    )


def drawn(label: str, shift: float) -> list[RunResult]:
    """Two orders and three seeds of numbers drawn around a shift."""
    found = []
    for o, order in enumerate(ORDERS):
        for seed in range(3):
            noise = np.random.default_rng([len(label), o, seed]).normal(0, 0.1, (3, 3))
            numbers = np.array([[1, 2, 1], [1.5, 2.4, 1.2], [1.2 + shift, 2.9 + shift, 1.1]]) + noise
            numbers[0] = [1, 2, 1]
            found.append(made(label, order, seed, numbers.tolist()))
    return found


def study(*results: RunResult) -> Study:
    return Study.about(results)


def front_of(one: Study) -> Any:
    figure = learned_forgotten(one.table, SD, one.ranked(Quantity.AVERAGE_FORGOTTEN, SD))
    (trace,) = [trace for trace in figure.data if trace.meta["role"] == "front"]
    return trace


def learned(run: RunResult) -> float:
    return average(run, Quantity.AVERAGE_LEARNED, Units.of([run]), SD)


def forgotten(run: RunResult) -> float:
    return average(run, Quantity.AVERAGE_FORGOTTEN, Units.of([run]), SD)


@pytest.fixture
def three() -> Study:
    return study(*drawn("rid", 0.3), *drawn("baseline", 0.0), *drawn("other", 0.28))


def numbers(one: Study, label: str) -> np.ndarray:
    """(runs, stages, 3)."""
    return np.array([[list(row.values.values()) for row in run.matrix.rows] for run in one.of(label)])


def shares(one: Study, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Change and forgetting of each run in SD by hand: only the reward that was trained first can be forgotten."""
    a = numbers(one, label)[..., :2] / list(SDS.values())
    first = [0 if run.rewards[0] == "a" else 1 for run in one.of(label)]
    change = (a[:, -1] - a[:, 0]).mean(1)
    fallen = a.max(1) - a[:, -1]
    return change, fallen[range(len(first)), first]


def test_forgotten_leaves_out_the_reward_trained_last(three: Study) -> None:
    for label in three.labels:
        assert [forgotten(run) for run in three.of(label)] == pytest.approx(shares(three, label)[1])
    joint = made("joint", ("a",), 0, [[1, 2], [2, 1]])
    assert math.isnan(forgotten(joint))


def test_verdicts_are_paired_t_tests_with_holm(three: Study) -> None:
    for quantity, which in ((Quantity.AVERAGE, 0), (Quantity.AVERAGE_FORGOTTEN, 1)):
        own = shares(three, "rid")[which]
        gaps = {s: (shares(three, s)[which] - own).reshape(2, 3).mean(0) for s in ("baseline", "other")}  # over orders
        tests = {s: stats.ttest_1samp(gap, 0) for s, gap in gaps.items()}
        every = {key: test["p"] for key, test in three.tests(quantity).items()}  # in both units
        adjusted = holm(pd.Series(every))
        found = {label: test for (label, unit), test in three.tests(quantity).items() if unit == SD}
        assert set(found) == set(tests)
        for name, test in tests.items():
            interval = test.confidence_interval(0.95)
            assert (found[name]["low"], found[name]["high"]) == pytest.approx((interval.low, interval.high))
            assert every[name, SD] == pytest.approx(test.pvalue)
            assert found[name]["p_holm"] == pytest.approx(adjusted[name, SD])
            assert found[name]["n"] == 3


def test_a_model_of_several_orders_is_one_observation() -> None:
    soup = []
    for order in ORDERS:
        for seed in range(3):
            run = made("soup", order, seed, [[1, 2, 1], [3, 1, 1], [1, 3, 1], [1.1, 2.2, 1]], merged=True)
            for i, name in enumerate(order):
                object.__setattr__(run.matrix.rows[i + 1], "stage_id", f"{name}{seed}")
            soup.append(run)
    one = study(*drawn("rid", 0.3), *soup)
    own = shares(one, "rid")[0].reshape(2, 3)  # orders, seeds
    expected = (0.1 / 0.5 + 0.2 / 4) / 2 - own.mean(0)
    test = one.tests(Quantity.AVERAGE)["soup", SD]
    interval = stats.ttest_1samp(expected, 0).confidence_interval(0.95)
    assert (test["n"], test["mean"]) == (3, pytest.approx(expected.mean()))
    assert (test["low"], test["high"]) == pytest.approx((interval.low, interval.high))


def test_the_headline_ranks_and_tells_the_paired_difference(three: Study) -> None:
    text = " ".join(sentences(three)).replace("\xa0", " ")
    for i, reward in enumerate(("a", "b")):
        left = {s: (numbers(three, s)[:, -1, i] - numbers(three, s)[:, 0, i]).mean() for s in three.labels}
        first, second, third = sorted(left, key=lambda s: -left[s])
        listed = (
            rf"\({first} \{left[first]:+.3f} ±\S+, {second} \{left[second]:+.3f} ±\S+, {third} \{left[third]:+.3f} ±"
        )
        assert re.search(rf"{reward}: of the 3 .* {first} has gained most over the base at the end {listed}", text)
    difference = shares(three, "other")[0] - shares(three, "rid")[0]
    assert (
        f"in standard deviations between the base model's prompts: rid {shares(three, 'rid')[0].mean():+.3f} ±" in text
    )
    assert text.index("Gain over the base at the end, mean over the rewards") > text.index("b: of the 3")
    assert difference.mean() < 0


def test_the_headline_tells_that_the_units_disagree() -> None:
    """One unit of a reward is 1 and 10 SD: what gains most of it is first in single gains only."""
    runs = [
        made(label, order, seed, [[1, 2, 1], [1 + (order[0] == "a"), 2 + (order[0] == "b"), 1], [1 + a, 2 + b, 1]])
        for label, a, b in (("baseline", 0.5 + 0.01, 1.0), ("rid", 0.7, 0.2))
        for order in ORDERS
        for seed in range(2)
    ]
    text = " ".join(sentences(study(*runs)))
    assert "The order of the strategies depends on the unit." in text


@pytest.mark.slow
def test_what_has_other_runs_or_one_run_is_not_ranked() -> None:
    lucky = made("lucky", ("a", "b"), 0, [[1, 2, 1], [9, 9, 1], [9, 9, 1]])
    one = study(*drawn("rid", 0.3), *drawn("baseline", 0.0), lucky)
    text = " ".join(sentences(one))
    assert "lucky has gained most" not in text
    assert "lucky has forgotten least" not in text
    assert "Not ranked" in text
    assert "lucky (1 run)" in text
    row = next(row for row in tables.final(one, "").rows if row[0].text == "lucky (1)")
    assert not any(cell.bold for cell in row)
    alone = " ".join(sentences(study(*drawn("rid", 0.3))))
    assert "most" not in alone
    assert "least" not in alone
    single = " ".join(sentences(study(drawn("rid", 0.3)[0], drawn("baseline", 0.0)[0])))
    assert "most" not in single
    assert "nothing is ranked" in single


def test_merges_and_single_stages_are_not_ranked_in_forgetting() -> None:
    still = [made("still", o, s, [[1, 2, 1]] * 4, merged=True) for o in ORDERS for s in range(3)]
    one = study(*drawn("rid", 0.3), *drawn("baseline", 0.0), *still)
    text = " ".join(sentences(one))
    assert "still has forgotten least" not in text
    assert "has forgotten least of it" in text
    units = tables.in_units(one, "")
    assert units is not None
    column = units.head.index("forgotten, SD ↓")
    cell, _, rank = next(row for row in units.rows if row[0].text == "still (merge)")[column : column + 3]
    assert (float(cell.text), cell.bold, rank.text) == (0, False, "-")
    table = tables.differences(one, [Quantity.AVERAGE_FORGOTTEN])
    assert table is not None
    assert "still minus rid" not in [row[0].text for row in table.rows]
    assert 0.0 not in front_of(one).x


def test_the_front_joins_the_ranked_sequences_that_none_beats(three: Study) -> None:
    lucky = made("lucky", ("a", "b"), 0, [[1, 2, 1], [9, 9, 1], [9, 9, 1]])
    one = study(*three.runs, lucky)
    points = [(shares(one, s)[1].mean(), np.mean([learned(run) for run in one.of(s)])) for s in three.labels]
    unbeaten = [p for p in points if not any(q[0] < p[0] and q[1] > p[1] for q in points)]
    assert list(front_of(one).x) == pytest.approx(sorted(x for x, _ in unbeaten))


def test_what_a_merge_learned_is_what_its_stages_reached() -> None:
    """As in `result.json`; what the merged model has is its average."""
    scaled = made("x0.5", ("a", "b"), 0, [[1, 2], [3, 2], [2, 4], [1.5, 2.2]], merged=True)
    assert learned(scaled) == pytest.approx((2 / 0.5 + 2 / 4) / 2)
    left = average(scaled, Quantity.AVERAGE, Units.of([scaled]), SD)
    assert left == pytest.approx((0.5 / 0.5 + 0.2 / 4) / 2)
    plain = made("plain", ("a", "b"), 0, [[1, 2], [3, 2], [2, 4]])
    assert learned(plain) == pytest.approx((2 / 0.5 + 2 / 4) / 2)


def test_points_of_a_merge_are_not_joined_and_have_no_band() -> None:
    merges = [made("soup", ("a", "b"), s, [[1, 2], [3, 2], [2, 4], [1.5, 2 + s]], merged=True) for s in range(3)]
    one = study(*(run for run in drawn("rid", 0.3) if run.rewards == ORDERS[0]), *merges)
    traces = stage_curves(long_table(one.runs), "b").to_plotly_json()["data"]
    (points,) = [t for t in traces if t["meta"]["strategy"] == 1]
    assert (points["mode"], points["meta"]["role"]) == ("markers", "points")
    assert points["y"] == pytest.approx([2, 2, 4, 3])
    (band,) = [t for t in traces if t["meta"] == {"role": "band", "strategy": 0}]
    b = numbers(one, "rid")[:, 2, 1]
    low, high = stats.t.interval(0.95, 2, b.mean(), stats.sem(b))
    assert (band["y"][3], band["y"][2]) == pytest.approx((low, high))


def test_intervals_of_forgetting_end_at_0() -> None:
    spread = Spread.of([0.0, 0.01, 0.05])
    assert spread.low < 0
    assert from_zero(spread, 0.1).replace("\xa0", " ") == f"0.020 [0.000, {spread.high:.3f}]"


def test_ratio_has_the_interval_of_fieller() -> None:
    pairs = np.random.default_rng(1).normal([2.0, 1.0], 0.4, (9, 2))
    found = ratio(pairs)
    assert found is not None
    share, low, high = found
    assert share == pytest.approx(pairs[:, 1].mean() / pairs[:, 0].mean())
    assert low < share < high
    for bound in (low, high):
        assert stats.ttest_1samp(pairs[:, 1] - bound * pairs[:, 0], 0).pvalue == pytest.approx(0.05)
    assert ratio(np.array([(0.1, 1.0), (-0.09, 1.0), (0.3, 1.0)])) is None
    assert ratio(np.array([(-1.0, 1.0)])) is None
    assert ratio(np.empty((0, 2))) is None
    alone = ratio(np.array([(2.0, 1.0)]))
    assert alone is not None
    assert (alone[0], math.isnan(alone[1])) == (0.5, True)


def test_gain_left_is_not_told_of_a_gain_that_may_be_none() -> None:
    sure = [made("rid", ("a", "b"), s, [[1, 2, 1], [2, 2, 1], [2 + s / 10, 3, 1.45 + s / 20]]) for s in range(3)]
    unsure = [made("noise", ("a", "b"), s, [[1, 2, 1], [2, 2, 1], [1 + (s - 0.9) / 2, 3, 1.5]]) for s in range(3)]
    answer = checks(study(*sure, *unsure))["disturbed"][0]
    assert answer is not None
    assert answer.head == ["strategy", "a@jpeg"]
    (rid, noise) = answer.rows
    assert rid[1].text.replace("\xa0", " ").startswith("45 % [")  # 0.5 / 1.1
    assert noise[1].text == "-"


def test_no_two_of_many_strategies_look_alike() -> None:
    styles = [Style.of(i) for i in range(40)]
    assert len({(style.colour, style.symbol) for style in styles}) == 40


def stored(folder: Path, result: RunResult, settings: str) -> None:
    write_json(folder / result.name / "result.json", result.to_json())
    write_text(folder / result.name / "config.yaml", f"seed: {result.seed}\nlabel: {result.label}\n{settings}")
    write_json(folder / result.name / "environment.json", {"commit": "0123456789" * 4 + "+"})


def read(folder: Path) -> tuple[Study, list[str], list[str]]:
    left_out: list[str] = []
    warnings: list[str] = []
    runs = load_runs([str(folder)], lambda source: [], warn=left_out.append)
    return Study.about(runs, warnings.append), left_out, warnings


def test_each_base_model_has_a_row_and_methods_on_another_are_marked(tmp_path: Path) -> None:
    for i, order in enumerate(ORDERS):
        for label in ("rid", "baseline"):
            stored(tmp_path, made(label, order, i, [[1, 2], [2, 2], [2, 3]]), "model: {path: m, spacing: leading}\n")
        high = made("rid-trailing", order, i, [[5, 6], [9, 9], [9, 9]])
        stored(tmp_path, high, "model: {path: m, spacing: trailing}\n")
    one, _, warnings = read(tmp_path)
    table = tables.final(one, "")
    names = [row[0].text for row in table.rows]
    assert names == [
        "base",
        "baseline (2)",
        "rid (2)",
        "base†: model.spacing (leading and trailing)",
        "rid-trailing† (2)",
    ]
    column = table.head.index("a ↑")
    assert [row[column].text for row in table.rows if row[0].text.startswith("base†")] == ["5.000"]
    assert [row[column].text for row in table.rows if row[0].text == "base"] == ["1.000"]
    assert not any(cell.bold for cell in table.rows[-1])
    assert len(warnings) == 1
    assert "rid-trailing" in warnings[0]
    assert "model.spacing (leading and trailing), so their numbers are not comparable" in warnings[0]
    compared = tables.differences(one, [Quantity.FINAL])
    assert compared is not None
    assert [row[0].text for row in compared.rows] == ["baseline minus rid"]


def test_runs_of_one_label_on_two_bases_are_two_methods(tmp_path: Path) -> None:
    low, high = (made("rid", ("a", "b"), s, [[v, 2], [2, 2], [2, 3]]) for s, v in ((0, 1), (1, 5)))
    for result, spacing in ((low, "leading"), (high, "trailing")):
        stored(tmp_path, result, f"model: {{spacing: {spacing}}}\n")
    runs = [load_result(tmp_path / result.name) for result in (low, high)]
    assert [run.label for run in told_apart(runs)] == ["rid (spacing leading)", "rid (spacing trailing)"]


def test_settings_mixed_under_one_label_are_warned_about(tmp_path: Path) -> None:
    for seed, lam in ((0, 100), (1, 90)):
        run = made("rid", ("a", "b"), seed, [[1, 2], [2, 2], [2, 3]])
        stored(tmp_path, run, f"strategy_settings: {{rid: {{lam: {lam}}}}}\n")
    _, _, warnings = read(tmp_path)
    assert len(warnings) == 1
    assert "strategy_settings.rid.lam (100 and 90)" in warnings[0]


def test_a_variant_tells_in_what_it_is_not_the_plain_strategy(tmp_path: Path) -> None:
    numbers = [[1, 2], [2, 2], [2, 3]]
    rest = "recipes: {baseline: {any: {lr: 1}}}"
    stored(tmp_path, made("rid", ("a", "b"), 0, numbers), "strategy_settings: {rid: {alpha: 0.99, lam: 1}}\n")
    slow = made("rid-alpha0.9", ("a", "b"), 0, numbers, strategy="rid")
    stored(tmp_path, slow, f"strategy_settings: {{rid: {{alpha: 0.9, lam: 1, distil: full}}}}\n{rest}\n")
    half = made("x0.5", ("a", "b"), 0, numbers, strategy="wise_ft")
    stored(tmp_path, half, "strategy_settings: {wise_ft: {scale: 0.5}}\n")
    one, _, _ = read(tmp_path)
    assert one.variant("rid") == ""
    assert one.variant("rid-alpha0.9") == "Differs from rid in: alpha 0.9 (not 0.99); distil full (not unset)."
    assert "scale 0.5" in one.variant("x0.5")


def test_a_commit_is_told_in_eight_digits(tmp_path: Path) -> None:
    stored(tmp_path, made("rid", ("a", "b"), 0, [[1, 2], [2, 2], [2, 3]]), "")
    (run,) = read(tmp_path)[0].runs
    assert environment(run)["commit"] == "01234567 with uncommitted changes"


def test_a_metric_that_one_order_did_not_measure_is_said_so(tmp_path: Path) -> None:
    """Runs of other rewards in one store: each measures its own."""
    a = made("rid", ("a", "b"), 0, [[1, 2], [2, 2], [2, 3]])
    infos = tuple(MetricInfo(name=name, higher_is_better=True, target_of=(name,)) for name in ("a", "c"))
    rows = (Row(label="base", values={"a": 1, "c": 5}), Row(label="c", rewards=("c",), values={"a": 1, "c": 6}))
    c = RunResult(
        name="c", strategy="rid", rewards=("a", "c"), seed=0, matrix=ResultMatrix(rows, infos), status="finished"
    )
    for result in (a, c):
        stored(tmp_path, result, "")
    write_report([str(tmp_path)], tmp_path / "page.html", Catalog(), pytest.fail)
    page = (tmp_path / "page.html").read_text()
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)[0])
    shown = {
        name: [bool(figure["data"]) for figure in panel] for name, panel in data["figures"].items() if "lines" in name
    }
    assert shown == {"lines-0": [True, True, True], "lines-1": [False, True, True], "lines-2": [True, False, True]}
    assert data["alts"]["lines-1"][0].endswith("not measured.")
