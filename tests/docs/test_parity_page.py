"""docs/evidence.md shows the recorded figures, and the record of a figure is made as it is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from checkout import ROOT

sys.path.insert(0, str(ROOT / "tests" / "parity"))
from parity_records import Figure, Figures, put, table

RECORDED = ROOT / "docs" / "data" / "parity.jsonl"


def test_the_page_has_the_recorded_table() -> None:
    assert table(RECORDED) in (ROOT / "docs" / "evidence.md").read_text()


def test_every_recorded_figure_is_within_its_bound_and_no_mistake_is() -> None:
    for line in RECORDED.read_text().splitlines():
        figure = json.loads(line)
        assert figure["seen"] < figure["bound"] < min(figure["mistakes"].values(), default=1e9)


def test_figures_are_written_and_then_asserted(tmp_path: Path) -> None:
    told: dict[str, object] = {}
    figures = Figures(tmp_path / "parity.jsonl", told.__setitem__)
    figures.check(Figure("fid", "theirs 1.0", "score", 0.5, 1.0, {"crop": 2.0}))
    with pytest.raises(AssertionError):
        figures.check(Figure("hps", "theirs 1.0", "score", 3.0, 1.0))
    with pytest.raises(AssertionError):
        figures.check(Figure("hps", "theirs 1.0", "features", 0.25, 1.0, {"crop": 0.5}))
    figures.check(Figure("fid", "theirs 1.0", "score", 0.25, 1.0, {"crop": 2.0}))  # measured again
    assert told == {"fid score": 0.25, "hps score": 3.0, "hps features": 0.25}
    made = table(tmp_path / "parity.jsonl")
    assert [line for line in made.splitlines() if "theirs" in line] == [
        "| hps | theirs 1.0 | score | 3.0e+00 | 1e+00 |  |",
        "| hps | theirs 1.0 | features | 2.5e-01 | 1e+00 | crop 5.0e-01 |",
        "| fid | theirs 1.0 | score | 2.5e-01 | 1e+00 | crop 2.0e+00 |",
    ]
    assert "| DDIM |  | not run yet |" in made
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table(RECORDED)}after\n")
    put(made, page)
    assert page.read_text() == f"before\n{made}after\n"
