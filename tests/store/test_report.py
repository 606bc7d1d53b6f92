"""Tables and pictures of results."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.store import tables
from rilbench.store.grid import save_grid

METRICS = (
    MetricInfo(name="a", higher_is_better=True, target_of=("a",)),
    MetricInfo(name="size_kb", higher_is_better=False, unit="kB"),
)


def result(a: float) -> RunResult:
    rows = (
        Row(label="base", values={"a": 1.0, "size_kb": 50.0}),
        Row(label="a", rewards=("a",), values={"a": 3.0, "size_kb": 60.0}),
        Row(label="b", rewards=("b",), values={"a": a, "size_kb": 55.0}),
    )
    return RunResult(name="one", strategy="rid", rewards=("a", "b"), seed=0, matrix=ResultMatrix(rows, METRICS))


def test_table_is_the_papers_form() -> None:
    assert tables.markdown(result(2.5)).splitlines() == [
        "| stage | a ↑ | size_kb ↓ |",
        "| --- | ---: | ---: |",
        "| base | 1.000 | 50.00 |",
        "| 1 a | 3.000 (-) | 60.00 (10.00) |",
        "| 2 b | 2.500 (0.500) | 55.00 (5.00) |",
    ]


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
