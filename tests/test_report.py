"""Tables, pictures and comparisons of results."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from rilbench.errors import UsageError
from rilbench.report import compare, tables
from rilbench.report.grid import save_grid
from rilbench.result import MetricInfo, ResultMatrix, Row, RunResult

METRICS = (
    MetricInfo(name="a", higher_is_better=True, target_of=("a",)),
    MetricInfo(name="size_kb", higher_is_better=False, unit="kB"),
)


def result(seed: int, a: float, *, strategy: str = "rid", status: str = "finished") -> RunResult:
    rows = (
        Row(label="base", values={"a": 1.0, "size_kb": 50.0}),
        Row(label="a", rewards=("a",), values={"a": 3.0, "size_kb": 60.0}),
        Row(label="b", rewards=("b",), values={"a": a, "size_kb": 55.0}),
    )
    matrix = ResultMatrix(rows, METRICS)
    name = f"{strategy}-{seed}-{a}"
    return RunResult(name=name, strategy=strategy, rewards=("a", "b"), seed=seed, matrix=matrix, status=status)


def test_table_is_the_papers_form() -> None:
    assert tables.markdown(result(0, 2.5)).splitlines() == [
        "| stage | a ↑ | size_kb ↓ |",
        "| --- | ---: | ---: |",
        "| base | 1.000 | 50.00 |",
        "| 1 a | 3.000 (-) | 60.00 (10.00) |",
        "| 2 b | 2.500 (0.500) | 55.00 (5.00) |",
    ]


def test_compare_means_over_seeds_with_students_interval() -> None:
    (group,) = compare.compare([result(1, 2.0), result(0, 3.0), result(2, 2.5)])
    assert [run.seed for run in group.runs] == [0, 1, 2]
    final = group.final("a")
    assert final.mean == pytest.approx(2.5)
    assert final.half == pytest.approx(4.303 * 0.5 / math.sqrt(3))
    assert group.forgetting("a").mean == pytest.approx((0 + 1 + 0.5) / 3)
    assert "| rid | a > b | 3 | 2.500 ±1.242 (0.500 ±1.242) | 55.00 ±0.00 (5.00 ±0.00) |" in compare.markdown([group])


def test_compare_keeps_strategies_apart_and_one_seed_has_no_interval() -> None:
    groups = compare.compare([result(0, 2.0), result(0, 2.5, strategy="baseline")])
    assert [g.label for g in groups] == ["baseline", "rid"]
    assert "±" not in compare.markdown(groups)


def test_compare_keeps_labels_of_one_strategy_apart() -> None:
    plain, named = result(0, 2.0), replace(result(0, 2.5), label="rid-lam0")
    groups = compare.compare([plain, named])
    assert [(g.label, g.final("a").mean) for g in groups] == [("rid", 2.0), ("rid-lam0", 2.5)]
    assert "| rid-lam0 | a > b | 1 |" in compare.markdown(groups)


def test_compare_refuses_what_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="not finished: rid-0"):
        compare.compare([result(0, 2.0, status="running")])
    with pytest.raises(UsageError, match="same seed differ in settings"):
        compare.compare([result(0, 2.0), result(0, 2.5)])


def test_grid_places_every_picture(tmp_path: Path) -> None:
    for column, colour in (("one", (255, 0, 0)), ("two", (0, 0, 255))):
        (tmp_path / column).mkdir()
        for i in range(2):
            Image.new("RGB", (16, 16), colour).save(tmp_path / column / f"sample-{i}.png")
    columns = [("base", tmp_path / "one"), ("1 a", tmp_path / "two")]
    save_grid(tmp_path / "grid.png", columns=columns, prompts=["first", "second"])
    with Image.open(tmp_path / "grid.png") as grid:
        seen = [colour for _, colour in grid.convert("RGB").getcolors(10_000) or []]
        assert grid.getpixel((grid.width - 70, grid.height - 70)) == (0, 0, 255)
    assert {(255, 0, 0), (0, 0, 255)} <= set(seen)
