"""Every number of a comparison, against numpy and scipy on the files of the runs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy import stats
from stores import BACKWARDS, BETTER, FORWARDS, SCORED, TARGETS, A, C, H, save

from rilbench.analysis.comparison import Comparison, compare
from rilbench.analysis.quantities import AVERAGES, Quantity
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import Spread, holm, paired_p, spreads
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.result import RunResult
from rilbench.store.files import write_json
from rilbench_compare.records import Record, records
from rilbench_compare.sheets import values_sheet

Raw = dict[str, Any]


def silent(text: str) -> None:
    pytest.fail(f"unexpected warning: {text}")


def nobody(source: str) -> list[RunResult]:
    return []


def compared(store: Path, quantity: Quantity = Quantity.FINAL, **options: Any) -> Comparison:
    runs = load_runs([str(store)], nobody, warn=silent)
    return compare(runs, quantities=shown(quantity), **{"warn": silent} | options)


def shown(quantity: Quantity) -> tuple[Quantity, ...]:
    """What `rilbench compare` shows: a final value comes with its forgetting, an average with its single rewards."""
    if quantity is Quantity.FINAL:
        return (Quantity.FINAL, Quantity.FORGETTING)
    return (AVERAGES[quantity], quantity) if quantity in AVERAGES else (quantity,)


def the(table: pd.DataFrame, **wanted: str) -> dict[str, Any]:
    """The one row of a table with these values."""
    (row,) = (row for row in table.to_dict("records") if all(row[key] == value for key, value in wanted.items()))
    return dict(row)


def p_of(sample: list[float]) -> float:
    """`paired_p` of one sample."""
    return float(paired_p(spreads(pd.Series([0.0, *sample]).groupby([9] + [0] * len(sample)))).get(0, math.nan))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two orders of three seeds of two strategies, and one run of a third."""
    folder = tmp_path_factory.mktemp("store")
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS), range(3)):
        save(folder, "rid", rewards, seed)
        save(folder, "baseline", rewards, seed, shift=-0.03)
    save(folder, "soup", FORWARDS, 1)
    return folder


def raw(store: Path, strategy: str, rewards: tuple[str, ...] | None = None) -> list[Raw]:
    """The result files of a strategy, and an order."""
    files = sorted(store.glob(f"{strategy}-*/result.json"))
    found = [{**json.loads(file.read_text()), "store": store} for file in files]
    return [run for run in found if rewards is None or tuple(run["rewards"]) == rewards]


def values(run: Raw, metric: str) -> list[float]:
    return [stage["values"][metric] for stage in run["stages"]]


def stage_of(run: Raw, reward: str) -> int:
    return 1 + int(run["rewards"].index(reward))


def forgetting(run: Raw, metric: str) -> float:
    """Eq. 3, NaN for a target of the last reward."""
    a = np.array(values(run, metric)) * BETTER[metric]
    return math.nan if run["rewards"][-1] in TARGETS[metric] else float((a - a[-1]).max())


def in_units(run: Raw, unit: str, of: Callable[[str], float]) -> float:
    """Mean over the rewards that have the number, each by the spread of the base model's prompts."""
    assert unit == "SD"
    scores = load_file(run["store"] / run["stages"][0]["evaluation"] / "scores.safetensors")
    return float(np.nanmean([of(r) / scores[r].mean(1).std(ddof=1) for r in run["rewards"]]))


def between(run: Raw, metric: str, start: int, end: int) -> float:
    a = values(run, metric)
    return math.nan if start == end else a[end] - a[start]


EXPECTED: dict[Quantity, Callable[[Raw, str], float]] = {
    Quantity.FINAL: lambda run, m: values(run, m)[-1],
    Quantity.FORGETTING: forgetting,
    Quantity.AVERAGE: lambda run, m: in_units(run, m, lambda r: between(run, r, 0, 3)),
    Quantity.AVERAGE_LEARNED: lambda run, m: in_units(run, m, lambda r: between(run, r, 0, stage_of(run, r))),
    Quantity.AVERAGE_FORGOTTEN: lambda run, m: in_units(run, m, lambda r: forgetting(run, r)),
    Quantity.LEFT: lambda run, m: between(run, m, 0, 3),
    Quantity.BACKWARD: lambda run, m: between(run, m, stage_of(run, m), 3),
    Quantity.FORWARD: lambda run, m: between(run, m, 0, stage_of(run, m) - 1),
    Quantity.LEARNED: lambda run, m: between(run, m, 0, stage_of(run, m)),
    Quantity.PLASTICITY: lambda run, m: between(run, m, stage_of(run, m) - 1, stage_of(run, m)),
}
ALL = (*SCORED[:4], "fid", "oracle")
COLUMNS = {Quantity.FINAL: ALL, Quantity.FORGETTING: ALL} | dict.fromkeys(AVERAGES, ("SD",))


def columns_of(quantity: Quantity) -> tuple[str, ...]:
    return COLUMNS.get(quantity, (A, H, C))


def rows_of(quantity: Quantity, *labels: str) -> list[tuple[str, str, str]]:
    """Quantity, method and metric of every row, in order."""
    return [row for each in shown(quantity) for row in itertools.product([each.value], labels, columns_of(each))]


def assert_spread(record: Record, sample: list[float]) -> None:
    """n, mean, sd and the 95 % interval of a record, of the values that are not NaN."""
    known = np.array([v for v in sample if not math.isnan(v)])
    assert record["n"] == len(known)
    if len(known) == 0:
        assert math.isnan(record["mean"])
        return
    assert record["mean"] == pytest.approx(known.mean())
    if len(known) == 1:
        assert all(math.isnan(record[key]) for key in ("sd", "low", "high"))
        return
    assert record["sd"] == pytest.approx(known.std(ddof=1))
    interval = stats.t.interval(0.95, len(known) - 1, loc=known.mean(), scale=stats.sem(known))
    assert (record["low"], record["high"]) == pytest.approx(interval)


def by_seed(numbers: dict[tuple[str, int], float]) -> list[float]:
    """The mean of every seed over the orders that have the number; the numbers by order and seed."""
    seeds = sorted({seed for (_, seed), number in numbers.items() if not math.isnan(number)})
    return [float(np.nanmean([v for (_, seed), v in numbers.items() if seed == one])) for one in seeds]


def case(run: Raw) -> tuple[str, int]:
    return " > ".join(run["rewards"]), run["seed"]


@pytest.mark.parametrize("quantity", list(Quantity))
def test_every_number_of_orders_and_means(store: Path, quantity: Quantity) -> None:
    tables = records(compared(store, quantity))
    for record in tables["orders"]:
        expected = EXPECTED[Quantity(record["quantity"])]
        runs = raw(store, record["label"], tuple(record["order"]))
        assert_spread(record, [expected(run, record["metric"]) for run in runs])
    for record in tables["means"]:
        expected = EXPECTED[Quantity(record["quantity"])]
        runs = raw(store, record["label"])
        assert_spread(record, by_seed({case(run): expected(run, record["metric"]) for run in runs}))
    rows = {(r["quantity"], r["label"], *r["order"], r["metric"]) for r in tables["orders"]}
    assert len(rows) == 5 * sum(len(columns_of(each)) for each in shown(quantity))
    assert [(r["quantity"], r["label"], r["metric"]) for r in tables["means"]] == rows_of(
        quantity, "baseline", "rid", "soup"
    )
    base = raw(store, "rid")[0]["stages"][0]["values"]
    assert {r["metric"]: r["mean"] for r in tables["base"]} == base


def test_transfer_and_plasticity_add_up(store: Path) -> None:
    (run,) = (r for r in load_runs([str(store)], nobody) if r.name == "rid-compressibility-hps-aesthetic-seed1")
    matrix = run.matrix
    for reward in BACKWARDS:
        parts = (matrix.forward_transfer(reward), matrix.plasticity(reward), matrix.backward_transfer(reward))
        assert sum(parts) == pytest.approx(matrix.values(reward)[-1] - matrix.values(reward)[0])
        assert sum(parts[:2]) == pytest.approx(matrix.learned(reward))


def prompt_differences(store: Path, one: str, two: str, metric: str) -> NDArray[np.float64]:
    """(S, P): means over images and the orders of both strategies."""
    found: dict[int, list[NDArray[np.float64]]] = {}
    for run, other in pairs(store, one, two):
        ends = [each["stages"][-1]["evaluation"] for each in (run, other)]
        left, right = (load_file(store / end / "scores.safetensors")[metric] for end in ends)
        found.setdefault(run["seed"], []).append((left - right).mean(axis=1))
    return np.array([np.mean(gaps, axis=0) for gaps in found.values()])


def two_way(cells: NDArray[np.float64]) -> tuple[float, float]:
    """Half of the interval of the mean and p, from the two-way table written out."""
    s, p = cells.shape
    if s < 2:
        return math.nan, math.nan
    mean = cells.mean()
    parts = {
        "seed": (p * sum((row.mean() - mean) ** 2 for row in cells), s - 1),
        "prompt": (s * sum((column.mean() - mean) ** 2 for column in cells.T), p - 1),
    }
    rest = ((cells - mean) ** 2).sum() - sum(square for square, _ in parts.values())
    squares = [(square / df, df) for square, df in (*parts.values(), (rest, (s - 1) * (p - 1)))]
    seed, prompt, cell = (ms for ms, _ in squares)
    total = max(seed + prompt - cell, seed, prompt)
    df = total**2 / sum(ms**2 / freedom for ms, freedom in squares)
    tests = [(math.sqrt(total / (s * p)), df), (cells.mean(1).std(ddof=1) / math.sqrt(s), s - 1)]
    halves = [stats.t.ppf(0.975, freedom) * error for error, freedom in tests]
    return max(halves), max(2 * stats.t.sf(abs(mean) / error, freedom) for error, freedom in tests)


def holm_by_definition(p: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    ranks = {name: i for i, name in enumerate(sorted(p, key=p.__getitem__))}
    return {name: max(min(1.0, (len(p) - ranks[o]) * p[o]) for o in p if ranks[o] <= ranks[name]) for name in p}


def pairs(store: Path, one: str, two: str) -> list[tuple[Raw, Raw]]:
    """The runs of two strategies with the same order and seed."""
    partners = {(tuple(run["rewards"]), run["seed"]): run for run in raw(store, two)}
    keys = {(tuple(run["rewards"]), run["seed"]): run for run in raw(store, one)}
    return [(run, partners[key]) for key, run in keys.items() if key in partners]


@pytest.mark.slow
@pytest.mark.parametrize("against", [None, "baseline"])
@pytest.mark.parametrize("quantity", list(Quantity))
def test_every_number_of_the_differences(store: Path, quantity: Quantity, against: str | None) -> None:
    found = records(compared(store, quantity, against=against))["differences"]
    reference = against or "rid"
    others = sorted({"rid", "baseline", "soup"} - {reference})
    assert [(d["quantity"], d["label"], d["metric"]) for d in found] == rows_of(quantity, *others)
    for each in shown(quantity):
        metrics = columns_of(each)
        tests = {(d["label"], d["metric"]): d for d in found if d["quantity"] == each}
        expected = {}
        for other, metric in itertools.product(others, metrics):
            test = tests[other, metric]
            both = {case(one): (one, two) for one, two in pairs(store, other, reference)}
            gaps = {key: EXPECTED[each](one, metric) - EXPECTED[each](two, metric) for key, (one, two) in both.items()}
            seeds = by_seed(gaps)
            assert_spread(test, seeds)
            assert test["matched"] == sum(not math.isnan(gap) for gap in gaps.values())
            if len(seeds) > 1:
                expected[other, metric] = float(stats.ttest_1samp(seeds, 0).pvalue)
                assert test["untested"] == ""
            else:
                assert (math.isnan(test["p_holm"]), test["significant"]) == (True, False)
                assert test["untested"] == ("one seed" if seeds else "no pair")
        adjusted = holm_by_definition(expected)  # over all methods and metrics of the quantity
        for key, p in expected.items():
            assert tests[key]["p"] == pytest.approx(p)
            assert tests[key]["p_holm"] == pytest.approx(adjusted[key])
            assert tests[key]["significant"] == (adjusted[key] < 0.05)


def test_every_number_of_the_test_over_prompts(store: Path) -> None:
    found = records(compared(store))["differences"]
    tests = {(d["label"], d["metric"]): d for d in found if d["quantity"] == "final"}
    keys = list(itertools.product(("baseline", "soup"), SCORED))
    cells = {(other, metric): prompt_differences(store, other, "rid", metric) for other, metric in keys}
    expected = {key: two_way(cells[key]) for key in keys}
    adjusted = holm_by_definition({key: p for key, (_, p) in expected.items() if not math.isnan(p)})
    for key, (half, p) in expected.items():
        test = tests[key]
        assert (test["prompts"], test["p_crossed"]) == (12, pytest.approx(p, nan_ok=True))
        low, high = test["mean"] - half, test["mean"] + half
        assert (test["low_crossed"], test["high_crossed"]) == pytest.approx((low, high), nan_ok=True)
        assert test["p_crossed_holm"] == pytest.approx(adjusted.get(key, math.nan), nan_ok=True)
        assert test["significant_crossed"] == (adjusted.get(key, 1) < 0.05)
    assert math.isnan(expected["soup", A][1])  # one seed
    assert "prompts" not in tests["baseline", "fid"]
    assert not any("prompts" in d for d in found if d["quantity"] == "forgetting")


def test_runs_that_are_one_model_are_one_observation(tmp_path: Path) -> None:
    """A soup has as many models as seeds, whatever the orders."""
    for seed in range(3):
        own = [f"{name}{seed}" for name in "ahc"]
        for rewards, stages in ((FORWARDS, own), (BACKWARDS, own[::-1])):
            save(tmp_path, "soup", rewards, seed, stages=stages, merge=True)
            save(tmp_path, "rid", rewards, seed)
    test = the(compared(tmp_path).differences, metric="fid", quantity="final")
    gaps = {run["seed"]: 0.0 for run in raw(tmp_path, "rid")}
    for one, two in pairs(tmp_path, "soup", "rid"):
        gaps[one["seed"]] += (values(one, "fid")[-1] - values(two, "fid")[-1]) / 2
    assert (test["matched"], test["n"]) == (6, 3)
    assert test["mean"] == pytest.approx(np.mean(list(gaps.values())))
    assert test["p"] == pytest.approx(stats.ttest_1samp(list(gaps.values()), 0).pvalue)


def test_runs_without_scores_are_not_tested_over_prompts(store: Path) -> None:
    """As a tracking server's: no folder, so no scores of images."""
    runs = [replace(run, folder=None) for run in load_runs([str(store)], nobody)]
    found = compare(runs, warn=silent).differences
    with_scores = compared(store).differences
    assert found["prompts"].isna().all()
    assert with_scores["prompts"].notna().any()
    pd.testing.assert_frame_equal(found.loc[:, :"significant"], with_scores.loc[:, :"significant"])


def test_scores_deleted_from_the_store_leave_the_runs(tmp_path: Path) -> None:
    for seed in (0, 1):
        save(tmp_path, "rid", seed=seed)
        save(tmp_path, "baseline", seed=seed)
    assert compared(tmp_path).differences["prompts"][0] == 12
    file = next(tmp_path.glob("stages/rid-*-seed0-2/evaluations/e/scores.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"scores.safetensors is damaged: .*\. Rerun the run's command"):
        compared(tmp_path)
    file.unlink()
    assert math.isnan(compared(tmp_path).differences["prompts"][0])


@pytest.mark.parametrize("quantity", [Quantity.PLASTICITY, Quantity.FORWARD])
def test_a_merge_has_no_stage_before_another(tmp_path: Path, quantity: Quantity) -> None:
    save(tmp_path, "soup", merge=True)
    save(tmp_path, "rid")
    comparison = compared(tmp_path, quantity)
    soup, rid = (
        {r["metric"]: r["mean"] for r in records(comparison)["means"] if r["label"] == label}
        for label in ("soup", "rid")
    )
    assert all(math.isnan(mean) for mean in soup.values())
    assert not all(math.isnan(mean) for mean in rid.values())
    learned = records(compared(tmp_path, Quantity.LEARNED))["means"]
    assert not any(math.isnan(r["mean"]) for r in learned)


def test_no_mark_on_a_mean_over_other_runs(tmp_path: Path) -> None:
    """One run of three that is far above: neither the best nor different, for the others lack its order or seed."""
    for seed in range(3):
        save(tmp_path, "rid", seed=seed)
        save(tmp_path, "baseline", seed=seed, shift=-0.5)
    save(tmp_path, "lucky", shift=5.0)
    save(tmp_path, "lucky", seed=1, shift=5.0)
    comparison = compared(tmp_path)
    means = {label: the(comparison.means, label=label, metric=A, quantity="final") for label in comparison.labels}
    assert [label for label in means if means[label]["best"]] == ["rid"]
    assert {label: row["comparable"] for label, row in means.items()} == {"baseline": True, "lucky": False, "rid": True}
    test = the(comparison.differences, label="lucky", metric=A, quantity="final")
    assert test["significant"]  # in the table of differences, over the two runs that match
    sheet = values_sheet(comparison, Quantity.FINAL)
    assert {row[0].text: row[3].mark for row in sheet.rows[1:]} == {"baseline": "*", "lucky": "", "rid": ""}
    assert "of rid: lucky" in sheet.caption


def test_merges_are_not_ranked_where_sequences_are_masked(tmp_path: Path) -> None:
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS), range(2)):
        save(tmp_path, "rid", rewards, seed)
        save(tmp_path, "soup", rewards, seed, merge=True)
    comparison = compared(tmp_path, Quantity.FORGETTING)
    own = comparison.means[(comparison.means["label"] == "soup") & comparison.means["comparable"]]
    assert set(own["metric"]) == {
        H,
        "fid",
        "oracle",
    }  # aesthetic and compressibility with its file size are trained last by one
    assert f"soup ({A}, {C}, png_kb)." in values_sheet(comparison, Quantity.FORGETTING).caption


def test_columns_follow_the_configuration(tmp_path: Path) -> None:
    """Not the first run read, whose rewards are in its own order."""
    wanted = ["fid", C, "oracle", A, "png_kb"]
    save(tmp_path, "rid", BACKWARDS, settings={"evaluate": {"metrics": wanted, "seed": 0}})
    assert [info.name for info in compared(tmp_path).columns(Quantity.FINAL)] == [
        H,
        *wanted,
    ]  # a reward is measured anyway


@pytest.mark.parametrize(
    ("sample", "p"),
    [([], math.nan), ([1.0], math.nan), ([0.0, 0.0], math.nan), ([0.4, 0.4], math.nan), ([1.0, -1.0], 1.0)],
)
def test_paired_p_of_ties_and_small_samples(sample: list[float], p: float) -> None:
    assert p_of(sample) == pytest.approx(p, nan_ok=True)


def test_equal_differences_are_no_test_and_have_no_interval() -> None:
    """0.1 + 0.3 is not 0.4 in binary: what rounding makes of equal numbers is no spread either."""
    assert math.isnan(p_of([0.1 + 0.3, 0.4, 0.7 - 0.3]))
    spread = Spread.of([0.4, 0.4])
    assert (spread.n, spread.mean, spread.sd) == (2, 0.4, 0)
    assert math.isnan(spread.half)
    assert holm(pd.Series({"equal": p_of([0.4, 0.4]), "other": 0.04}))["other"] == 0.04  # no test: not corrected for


def test_students_interval_and_holm_by_hand() -> None:
    spread = Spread.of([2.0, 3.0, math.nan, 2.5])
    assert (spread.n, spread.mean, spread.sd) == (3, 2.5, 0.5)
    assert spread.half == pytest.approx(4.3027 * 0.5 / math.sqrt(3), rel=1e-4)  # the quantile of any printed table
    adjusted = holm(pd.Series({"a": 0.01, "b": 0.04, "c": 0.03, "none": math.nan}))
    assert adjusted.drop("none").to_dict() == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert math.isnan(adjusted["none"])


@pytest.mark.slow
def test_best_follows_the_direction_and_ties_share_it(tmp_path: Path) -> None:
    for seed in range(2):
        save(tmp_path, "one", seed=seed)
        save(tmp_path, "two", seed=seed, shift=0.5)

    def best(runs: list[RunResult], metric: str) -> list[str]:
        means = compare(runs, warn=silent).means
        chosen = means[means["best"] & (means["metric"] == metric) & (means["quantity"] == "final")]
        return list(chosen["label"])

    runs = load_runs([str(tmp_path)], nobody)
    one = [run for run in runs if run.label == "one"]
    assert best(runs, A) == ["two"]
    assert best(runs, "png_kb") == ["one"]
    assert best(one, A) == []
    assert best([*one, *(replace(run, name=f"{run.name}-x", label="twin") for run in one)], A) == ["one", "twin"]
    assert best([run for run in runs if run.seed == 0], A) == []  # a single run may be chance


def test_one_model_under_two_orders_counts_once_in_a_mean(tmp_path: Path) -> None:
    """As joint and soup are: the same stages, listed in another order."""
    for seed in (0, 1):
        own = [f"{name}{seed}" for name in "ahc"]
        save(tmp_path, "soup", FORWARDS, seed, stages=own, merge=True)
        save(tmp_path, "soup", BACKWARDS, seed, stages=own[::-1], merge=True)
        save(tmp_path, "rid", FORWARDS, seed)
        save(tmp_path, "rid", BACKWARDS, seed)
    comparison = compared(tmp_path)
    fid = [row for row in comparison.means.to_dict("records") if (row["metric"], row["quantity"]) == ("fid", "final")]
    assert {row["label"]: (row["n"], comparison.seeds_of(row["label"])) for row in fid} == {
        "rid": (2, 2),
        "soup": (2, 2),
    }
    assert set(comparison.orders.loc[comparison.orders["metric"] == "fid", "n"]) == {2}


def test_a_metric_some_runs_lack(tmp_path: Path) -> None:
    save(tmp_path, "rid", seed=0)
    save(tmp_path, "rid", seed=1, without=["oracle"])
    save(tmp_path, "baseline", without=["oracle"])
    tables = records(compared(tmp_path))
    found = {(r["label"], r["quantity"]): r for r in tables["means"] if r["metric"] == "oracle"}
    assert found["rid", "final"]["n"] == 1
    assert math.isnan(found["baseline", "final"]["mean"])
    assert not found["rid", "final"]["best"]  # nothing to be better than
    (test,) = (d for d in tables["differences"] if (d["metric"], d["quantity"]) == ("oracle", "final"))
    assert (test["n"], test["significant"]) == (0, False)


def test_nan_in_a_result_is_left_out(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path, "rid", seed=seed)
    file = tmp_path / "rid-aesthetic-hps-compressibility-seed1" / "result.json"
    result = json.loads(file.read_text())
    result["stages"][-1]["values"]["fid"] = None  # what NaN becomes in JSON
    write_json(file, result)
    (record,) = (r for r in records(compared(tmp_path))["orders"] if (r["metric"], r["quantity"]) == ("fid", "final"))
    kept = [values(run, "fid")[-1] for run in raw(tmp_path, "rid") if run["seed"] != 1]
    assert (record["n"], record["mean"]) == (2, pytest.approx(np.mean(kept)))


def test_strategies_and_rewards_filter(store: Path) -> None:
    comparison = compared(store, strategies=["soup", "rid"], rewards=FORWARDS)
    assert [(run.label, run.rewards) for run in comparison.runs] == [("soup", FORWARDS), *[("rid", FORWARDS)] * 3]
    assert comparison.against == "rid"
    assert compared(store, strategies=["soup", "baseline"]).against == "soup"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"against": "ridd"}, "unknown strategy among the runs 'ridd'. Did you mean 'rid'"),
        (
            {"strategies": ["rid"], "against": "baseline"},
            "'baseline' to compare against is not one of --strategies rid;",
        ),
        ({"strategies": ["joint"]}, "unknown strategy among the runs 'joint'"),
        ({"rewards": (H, A)}, "no run of the rewards hps > aesthetic; there are aesthetic > hps > compressibility, c"),
    ],
)
def test_what_is_not_there_is_named(store: Path, options: Raw, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compared(store, **options)


def test_mixed_settings_are_named(tmp_path: Path) -> None:
    save(tmp_path, "rid", seed=0)
    save(tmp_path, "rid", seed=1, settings={"train": {"lr": 0.1, "log_gradients_every": 3}, "evaluate": {"steps": 5}})
    save(tmp_path, "baseline", seed=0, settings={"train": {"lr": 0.5}})
    heard: list[str] = []
    compared(tmp_path, warn=heard.append)
    (text,) = heard
    assert text.startswith("runs of rid")
    assert " evaluate.seed (0 and unset), train.lr (0.001 and 0.1), evaluate.steps (unset and 5);" in text


def test_another_base_model_is_named_in_one_line(tmp_path: Path) -> None:
    for seed in range(2):
        save(tmp_path, "rid", seed=seed)
    folder = save(tmp_path, "baseline", settings={"model": {"steps": 20}, "train": {"lr": 0.5}})
    file = folder / "result.json"
    result = json.loads(file.read_text())
    result["stages"][0]["values"] |= {"fid": 71.0, A: 4.5}
    write_json(file, result)
    own = raw(tmp_path, "rid")[0]["stages"][0]["values"]
    heard: list[str] = []
    compared(tmp_path, warn=heard.append)
    (text,) = heard
    assert text.startswith("the untouched model")
    named = (
        folder.name,
        f": aesthetic ({own[A]:.4g} and 4.5), fid ({own['fid']:.4g} and 71);",
        " model.steps (10 and 20),",
    )
    assert [part for part in named if part not in text] == []
    assert "train.lr" not in text


@pytest.mark.slow
def test_two_runs_of_one_seed_are_two_labels(tmp_path: Path) -> None:
    """They were refused, and a store with runs of two settings could not be compared any more."""
    save(tmp_path, "rid")
    save(tmp_path, "rid", suffix="-b", settings={"train": {"lr": 0.1}})
    save(tmp_path, "baseline")
    labels = compared(tmp_path).labels
    assert labels == ["baseline", "rid (lr 0.001)", "rid (lr 0.1)"]
    one = compared(tmp_path, strategies=["rid"], against="rid")
    assert one.labels == labels[1:]
    assert one.against == compared(tmp_path).against == labels[1]


def test_two_runs_of_one_seed_without_another_setting_are_two_labels(tmp_path: Path) -> None:
    save(tmp_path, "rid", suffix="-a1")
    save(tmp_path, "rid", suffix="-b2")
    assert compared(tmp_path).labels == ["rid #a1", "rid #b2"]


def test_a_label_makes_a_strategy_of_its_own(tmp_path: Path) -> None:
    """Runs of one strategy that were given names; their settings may differ."""
    for seed in (0, 1):
        save(tmp_path, "rid", seed=seed)
        file = save(tmp_path, "rid", seed=seed, suffix="-b", settings={"train": {"lr": 0.1}}) / "result.json"
        write_json(file, json.loads(file.read_text()) | {"label": "rid-fast"})
    comparison = compared(tmp_path)
    assert {label: len(comparison.of(label)) for label in comparison.labels} == {"rid": 2, "rid-fast": 2}
    differences = comparison.differences
    assert set(zip(differences["label"], differences["against"], strict=True)) == {("rid-fast", "rid")}


@pytest.mark.slow
def test_a_reward_trained_twice(tmp_path: Path) -> None:
    """Forward until its first stage, learned and plasticity at its last one."""
    run = json.loads((save(tmp_path, "rid", (H, A, C, A, H)) / "result.json").read_text())
    expected = {
        Quantity.FORWARD: {A: between(run, A, 0, 1), C: between(run, C, 0, 2)},
        Quantity.BACKWARD: {A: between(run, A, 4, 5), C: between(run, C, 3, 5)},
        Quantity.LEARNED: {A: between(run, A, 0, 4), H: between(run, H, 0, 5), C: between(run, C, 0, 3)},
        Quantity.PLASTICITY: {A: between(run, A, 3, 4), H: between(run, H, 4, 5), C: between(run, C, 2, 3)},
    }
    for quantity, rewards in expected.items():
        found = {r["metric"]: r["mean"] for r in records(compared(tmp_path, quantity))["means"]}
        assert {name: mean for name, mean in found.items() if not math.isnan(mean)} == pytest.approx(rewards)
