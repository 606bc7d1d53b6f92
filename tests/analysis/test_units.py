"""Gains of different rewards in declared units, against numbers computed by hand; exchange rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import FORWARDS, A, C, H, save

from rilbench.analysis.comparison import Comparison, compare
from rilbench.analysis.exchange import RAW, exchange_rates
from rilbench.analysis.figures import DRIFT, gain_drift
from rilbench.analysis.quantities import Quantity, average
from rilbench.analysis.sources import load_runs
from rilbench.analysis.units import SD, SINGLE, Units
from rilbench.contracts.errors import UsageError
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench_compare import exchange
from rilbench_compare.sheets import values_sheet

AESTHETIC, SIZE = "aesthetic", "size"  # the second has a small base value and a large relative gain
INFOS = tuple(MetricInfo(name=name, higher_is_better=True, target_of=(name,)) for name in (AESTHETIC, SIZE))
BASE = {AESTHETIC: 5.0, SIZE: 0.1}
SDS = {AESTHETIC: 0.5, SIZE: 0.2}
ORDERS = ((AESTHETIC, SIZE), (SIZE, AESTHETIC))
CENTRES = {A: 5.0, H: 0.3, C: -0.01}  # of stores.save
Point = tuple[float, float]  # gains of the two


def run(
    label: str, order: Sequence[str], seed: int, end: Point, *, first: Point = (0.0, 0.0), merged: bool = False
) -> RunResult:
    """A run with its gains after the first stage, the same for later ones, and at the end; the base has `SDS`."""

    def row(rewards: tuple[str, ...], name: str, gains: Point) -> Row:
        values = {m: BASE[m] + gain for m, gain in zip(BASE, gains, strict=True)}
        return Row(label=name, rewards=rewards, stage_id=name, values=values, sds=SDS)

    stages = [row((), "base", (0.0, 0.0)), row((order[0],), f"{label}-{order[0]}-{seed}", first)]
    stages += [row((reward,), f"{label}-{order}-{seed}", first if merged else end) for reward in order[1:]]
    stages += [row((), "merge", end)] if merged else []
    return RunResult(
        name=f"{label}-{'-'.join(order)}-{seed}",
        strategy=label,
        rewards=tuple(order),
        seed=seed,
        matrix=ResultMatrix(tuple(stages), INFOS),
        status="finished",
    )


def store() -> list[RunResult]:
    """The baseline gains 1 and 0.05 in a first stage; at the end rid has gained more of the first, it more of the
    second reward: relative to |base| it has gained more, in SD and single gains rid has."""
    single = {AESTHETIC: (1.0, -0.02), SIZE: (-0.3, 0.05)}
    runs = []
    for order in ORDERS:
        for seed in (0, 1):
            runs.append(run("baseline", order, seed, (0.2, 0.08), first=single[order[0]]))
            runs.append(run("rid", order, seed, (0.9 + 0.2 * seed, 0.04), first=(0.4, 0.03)))
    return runs


def compared(runs: Sequence[RunResult], quantity: Quantity = Quantity.AVERAGE, **options: str) -> Comparison:
    return compare(runs, quantities=(quantity,), warn=pytest.fail, **options)  # type: ignore[arg-type]


def test_both_units_by_hand() -> None:
    found = compared(store())
    assert found.quantities == (Quantity.LEFT, Quantity.AVERAGE)  # single rewards come first
    assert found.units.singles == pytest.approx({(0, AESTHETIC): 1.0, (0, SIZE): 0.05})
    rid = {unit: found.row("rid", Quantity.AVERAGE, unit)["mean"] for unit in (SD, SINGLE)}
    assert rid == pytest.approx({SD: (1.0 / 0.5 + 0.04 / 0.2) / 2, SINGLE: (1.0 / 1.0 + 0.04 / 0.05) / 2})
    baseline = {unit: found.row("baseline", Quantity.AVERAGE, unit)["mean"] for unit in (SD, SINGLE)}
    assert baseline == pytest.approx({SD: (0.2 / 0.5 + 0.08 / 0.2) / 2, SINGLE: (0.2 / 1.0 + 0.08 / 0.05) / 2})


def test_shares_of_the_base_would_order_the_methods_the_other_way_round() -> None:
    found = compared(store())
    gains = {s: [found.row(s, Quantity.LEFT, name)["mean"] for name in BASE] for s in ("rid", "baseline")}
    shares = {s: np.mean(np.divide(gain, list(BASE.values()))) for s, gain in gains.items()}
    assert shares["baseline"] > shares["rid"]
    assert found.row("rid", Quantity.AVERAGE, SD)["best"]
    assert found.row("rid", Quantity.LEFT, AESTHETIC)["best"]
    assert not found.row("rid", Quantity.LEFT, SIZE)["best"]


def test_ranks_are_means_over_the_rewards_and_ties_share_them() -> None:
    runs = [*store(), *(replace(each, name=f"x{each.name}", label="twin") for each in store() if each.label == "rid")]
    found = compared(runs)
    ranks = {s: found.row(s, Quantity.AVERAGE, SD)["rank"] for s in found.labels}
    assert ranks == {"rid": (1.5 + 2.5) / 2, "twin": (1.5 + 2.5) / 2, "baseline": (3 + 1) / 2}
    sheet = values_sheet(found, Quantity.AVERAGE)
    assert sheet.head[3:] == [f"{SD} ↑", f"{SINGLE} ↑", "rank ↓"]
    assert {row[0].text: row[-1].text for row in sheet.rows} == dict.fromkeys(found.labels, "2")
    assert f"{SINGLE}: single gains of baseline (aesthetic 1.000, size 0.05000; over 2 seeds)" in sheet.caption


def test_the_reference_of_single_gains_can_be_chosen_and_is_taken_from_all_runs() -> None:
    found = compared(store(), single_gain_of="rid")
    assert found.row("rid", Quantity.AVERAGE, SINGLE)["mean"] == pytest.approx((1.0 / 0.4 + 0.04 / 0.03) / 2)
    alone = compare(store(), quantities=(Quantity.AVERAGE,), strategies=["rid"], warn=pytest.fail)
    assert alone.units.reference == "baseline"  # not shown, but among the runs
    without = compared([each for each in store() if each.label == "rid"])
    assert without.units.reference == "rid"
    with pytest.raises(UsageError, match="unknown strategy among the runs 'ridd'"):
        compared(store(), single_gain_of="ridd")


def test_a_unit_that_a_reward_lacks_is_not_shown_and_a_note_says_why() -> None:
    one_order = [each for each in store() if each.rewards == ORDERS[0]]
    found = compared(one_order)
    assert [info.name for info in found.columns(Quantity.AVERAGE)] == [SD]
    assert "baseline has no first stage on size alone" in values_sheet(found, Quantity.AVERAGE).caption
    lost = [run("baseline", order, 0, (1, 1), first=(-0.1, 0.5)) for order in ORDERS]
    assert "baseline gained nothing in a first stage on aesthetic" in " ".join(Units.of(lost).notes(lost))


def test_a_store_without_scores_has_single_gains_only() -> None:
    runs = [
        replace(each, matrix=ResultMatrix(tuple(replace(row, sds={}) for row in each.matrix.rows), INFOS))
        for each in store()
    ]
    units = Units.of(runs)
    assert units.shown(runs) == [SINGLE]
    assert units.notes(runs) == [
        f"{SD} is not shown: no spread of the base model's scores over prompts is recorded for aesthetic, size"
    ]
    bare = [each for each in runs if each.rewards == ORDERS[0]]  # no unit at all
    assert compared(bare).means["quantity"].unique().tolist() == [Quantity.LEFT.value]


def test_a_recorded_spread_survives_the_file_and_needs_no_scores() -> None:
    one = run("rid", ORDERS[0], 0, (1, 1))
    read = RunResult.from_json(one.to_json())
    assert read.matrix.rows[0].sds == SDS
    assert Units.of([read]).size(read, SD, SIZE) == 0.2


def test_one_reward_is_its_own_average() -> None:
    runs = [
        run(label, (AESTHETIC,), s, (0, 0), first=(g, 0.0))
        for label, g in (("baseline", 0.5), ("rid", 1.0))
        for s in (0, 1)
    ]
    found = compared(runs)
    assert found.row("rid", Quantity.AVERAGE, SD)["mean"] == pytest.approx(1.0 / 0.5)
    assert found.row("rid", Quantity.AVERAGE, SINGLE)["mean"] == pytest.approx(1.0 / 0.5)
    assert found.row("rid", Quantity.AVERAGE, SD)["rank"] == 1


def test_a_merge_keeps_what_it_has_and_learned_what_its_stages_reached() -> None:
    merge = run("soup", ORDERS[0], 0, (0.3, 0.1), first=(1.0, 0.2), merged=True)
    units = Units.of([merge])
    assert average(merge, Quantity.AVERAGE, units, SD) == pytest.approx((0.3 / 0.5 + 0.1 / 0.2) / 2)
    assert average(merge, Quantity.AVERAGE_LEARNED, units, SD) == pytest.approx((1.0 / 0.5 + 0.2 / 0.2) / 2)
    found = compared([merge, *store()], Quantity.AVERAGE_FORGOTTEN)
    assert math.isnan(found.row("soup", Quantity.AVERAGE_FORGOTTEN, SD)["rank"])


def test_exchange_rates_by_hand() -> None:
    """Size loses by a stage on aesthetic before anything was trained for it: no forgetting."""
    runs = store()
    rates = exchange_rates(runs, Units.of(runs))
    found = {(r["label"], r["reward"], r["scale"], r["metric"]): (r["n"], r["mean"]) for r in rates.to_dict("records")}
    assert found["baseline", AESTHETIC, RAW, SIZE] == (2, pytest.approx(-0.02))
    assert found["baseline", AESTHETIC, SD, SIZE] == (2, pytest.approx(-0.02 / 0.2))
    assert found["baseline", SIZE, RAW, AESTHETIC] == (2, pytest.approx(-0.3))
    assert found["rid", SIZE, RAW, SIZE] == (2, pytest.approx(0.03))
    raw, in_sds = exchange.sheets(compared(runs))
    cells = [{(row[0].text, row[1].text): row[-1].text for row in sheet.rows} for sheet in (raw, in_sds)]
    assert [found["baseline", AESTHETIC] for found in cells] == ["-0.020", "-0.100"]  # of size
    assert [sheet.head[3:] for sheet in (raw, in_sds)] == [list(BASE)] * 2


def test_the_exchange_rates_in_a_metrics_own_scale_have_its_unit() -> None:
    infos = (INFOS[0], replace(INFOS[1], unit="kB"))
    runs = [replace(each, matrix=ResultMatrix(each.matrix.rows, infos)) for each in store()]
    raw, in_sds = exchange.sheets(compared(runs))
    assert (raw.head[-1], in_sds.head[-1]) == (f"{SIZE} kB", SIZE)


def test_a_first_stage_that_a_merge_shares_with_a_sequence_has_one_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        own = [f"{reward}{seed}" for reward in FORWARDS]
        save(tmp_path, "soup", FORWARDS, seed, stages=own, merge=True)
        save(tmp_path, "wise", FORWARDS, seed, stages=own)  # a sequence that comes later by name
    runs = load_runs([str(tmp_path)], lambda source: [])
    rates = exchange_rates(runs, Units.of(runs))
    assert set(rates["label"]) == {"wise"}
    assert set(rates["n"]) <= {0, 2}


def test_gain_is_drawn_against_one_minus_structure() -> None:
    """rid keeps .9 of the structure, the baseline .6 and gains less of aesthetic: only rid is on the front."""
    kept = {"rid": 0.9, "baseline": 0.6}
    infos = (*INFOS, MetricInfo(name=DRIFT, higher_is_better=True))
    runs = [
        replace(each, matrix=ResultMatrix(tuple(_structured(row, kept[each.label]) for row in each.matrix.rows), infos))
        for each in store()
    ]
    table = compare(runs, quantities=(Quantity.FINAL, Quantity.AVERAGE), warn=pytest.fail).table
    for metric, gain in ((AESTHETIC, 1.0), (SD, (1.0 / 0.5 + 0.04 / 0.2) / 2)):
        (front,) = [trace for trace in gain_drift(table, metric).data if trace.meta["role"] == "front"]
        assert (*front.x, *front.y) == pytest.approx((0.1, gain))


def _structured(row: Row, kept: float) -> Row:
    return replace(row, values={**row.values, DRIFT: kept if row.rewards else 1.0})
