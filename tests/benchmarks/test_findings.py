"""Every figure of a page of findings is computed again from the record, by other code; so are REPRODUCIBILITY.md's."""

from __future__ import annotations

import gzip
import json
import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import made_record
import numpy as np
import pytest
from checkout import ROOT
from recomputed_page import records, strange_figures, tables, wrong

sys.path.insert(0, str(ROOT / "benchmarks"))
import findings
import findings_fronts

RECORDS = sorted({file.parent for file in (ROOT / "docs" / "data").glob("*/seed*.jsonl.gz")})
PAGE = (ROOT / "REPRODUCIBILITY.md").read_text()
HEADING = "# Reproducibility\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def page(made: Path) -> str:
    return written(made)


def recorded(folder: Path, seeds: Iterable[int] = (0, 1, 2), without: Iterable[tuple[str, int, int]] = ()) -> Path:
    made_record.write(folder / "record", tuple(seeds), tuple(without))
    return folder / "record"


def written(record: Path) -> str:
    file = record.parent / "page.md"
    file.write_text(HEADING)
    findings.main(record, into=file)
    return file.read_text()


@pytest.mark.slow
def test_every_figure_is_what_other_code_computes(made: Path, page: str) -> None:
    compared, differ = wrong(page, made)
    assert compared > 500
    assert differ == []


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Findings", "Gains", "At RID's gain", "Exchange rates", "Teacher"])
def test_a_wrong_figure_is_found(made: Path, page: str, title: str) -> None:
    before, after = page.split(f"### {title}\n")
    (cell, *_) = re.findall(r"(?<=\| )-?\d+\.\d+(?= ±| \|)", after)
    changed = cell[:-1] + str((int(cell[-1]) + 5) % 10)
    _, differ = wrong(f"{before}### {title}\n{after.replace(cell, changed, 1)}", made, title)
    assert len(differ) == 1
    assert f"{title}: " in differ[0]


def test_the_page_says_what_was_measured(page: str) -> None:
    assert "Runs: 96. Seeds: 0, 1, 2. Orders: 4. Methods: 8." in page
    assert "Of the base model, on 8 prompts with 4 images each." in page


def test_what_does_not_hold_comes_first(page: str) -> None:
    _, *rows = tables(page, "record")["Findings"]
    verdicts = [row[1] for row in rows]
    order = [verdict for verdict in findings.ORDER if verdict in verdicts]
    assert list(dict.fromkeys(verdicts)) == order
    assert order[-1] == "holds"


@pytest.mark.slow
def test_a_record_that_is_not_complete_says_so(tmp_path: Path) -> None:
    """Its figures are of the runs that there are; a method without its reference has no gain in units of it."""
    without = [("rid", 1, 0), ("rid", 2, 0), ("soup", 0, 1)]
    without += [("baseline", order, seed) for order in (2, 3) for seed in (0, 1)]
    record = recorded(tmp_path, (0, 1), without)
    text = written(record)
    assert "**The record is not complete: 57 of 64 runs.** Seeds: 0, 1. Orders: 4. Methods: 8." in text
    missing = {row[0]: row[5] for row in tables(text, "record")["Methods"]}
    assert (missing["rid"], missing["soup"], missing["baseline"], missing["joint"]) == ("2", "1", "4", "0")
    compared, differ = wrong(text, record)
    assert compared > 400
    assert differ == []


@pytest.mark.slow
def test_runs_that_cannot_be_compared_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A metric that some runs lack is left out, and named."""
    record = recorded(tmp_path, (0, 1))
    file = record / "seed0.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    runs = [line for line in lines if line["kind"] == "run" and line["label"] == "rid"]
    runs[0]["metrics"].remove("fid")
    runs[0]["settings"] = "other"
    lines.append({"kind": "settings", "id": "other", "values": {"strategy": "rid", "train.lr": 0.123}})
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    text = written(record)
    assert "Left out, because not every run has them: fid." in text
    assert "fid" not in tables(text, "record")["Gains"][0] + tables(text, "record")["Final values"][0]
    assert "runs of rid differ in train.lr (0.9 and 0.123)" in capsys.readouterr().err
    assert wrong(text, record)[1] == []


@pytest.mark.slow
@pytest.mark.parametrize("labels", [["rid"], ["joint", "soup"], ["rid", "baseline-plain"]], ids="+".join)
def test_a_study_may_have_begun_only(tmp_path: Path, labels: list[str]) -> None:
    """Without the reference there are no single gains."""
    made_record.write(tmp_path / "record", [0, 1], labels=labels)
    text = written(tmp_path / "record")
    assert {row[-1] for row in tables(text, "record")["Base values and units"][1:]} == {"-"}
    compared, differ = wrong(text, tmp_path / "record")
    assert compared > 50
    assert differ == []


@pytest.mark.slow
def test_one_seed_tests_nothing(tmp_path: Path) -> None:
    record = recorded(tmp_path, [3])
    _, *rows = tables(written(record), "record")["Findings"]
    assert {row[1] for row in rows} <= {"not tested", "not reached", "no gain"}
    assert wrong(written(record), record)[1] == []


def test_a_page_keeps_what_is_around_a_block() -> None:
    once = findings.replaced("# Title\n\nBefore.\n", "findings it", "1")
    assert once == "# Title\n\nBefore.\n\n<!-- findings it -->\n1\n<!-- end of findings it -->\n"
    again = findings.replaced(once + "\nAfter.\n", "findings it", "2")
    assert again == "# Title\n\nBefore.\n\n<!-- findings it -->\n2\n<!-- end of findings it -->\n\nAfter.\n"


def test_a_front_counts_where_it_gains_as_much_with_the_least_drift() -> None:
    front = [(0.0, 1.0, 0.0), (2.0, 0.8, 0.2), (1.0, 0.2, 0.8)]  # gain, structure, drift
    assert findings_fronts.least_drift(front, 1.5) == pytest.approx(0.85)
    assert math.isnan(findings_fronts.least_drift(front, 2.5))


@pytest.mark.parametrize("gain", [-0.1, 0.0, 2.5])
def test_a_method_without_a_gain_of_the_front_is_not_compared(gain: float) -> None:
    seeds = np.array([[[1.0, 0.2, 0.2], [gain, 0.5, 0.5]]] * 3)
    found = findings_fronts.at_equal_gain(seeds, (0.0, 0.0, 0.0))
    assert (found.reached, found.gain) == (0, pytest.approx(gain))
    assert math.isnan(found.effect.mean)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.7])  # of the deviations of a seed, by all methods
def test_the_interval_at_an_equal_gain_covers_what_more_seeds_would_show(shared: float) -> None:
    """Five seeds, a front of three points and a method between them."""
    numbers = np.random.default_rng(3)
    means = np.array([[0.4, 0.10, 0.10], [0.8, 0.25, 0.25], [1.1, 0.45, 0.45], [0.7, 0.15, 0.15]])
    sizes = np.array([0.1, 0.02, 0.02]) * np.array([0.5, 1.0, 1.5, 1.0])[:, None]
    start = (0.0, 0.0, 0.0)
    truth = 0.15 - findings_fronts.least_drift([start, *means[:-1].tolist()], 0.7)
    covered = []
    for _ in range(1000):
        common, own = numbers.standard_normal((5, 1, 3)), numbers.standard_normal((5, 4, 3))
        deviations = shared * common + math.sqrt(1 - shared**2) * own
        deviations[..., 2] = deviations[..., 1]  # the value is the drift
        found = findings_fronts.at_equal_gain(means + sizes * deviations, start)
        covered.append(found.effect.low <= truth <= found.effect.high)
    assert 0.93 < np.mean(covered) < 0.97


def test_the_page_has_the_findings_of_every_record() -> None:
    assert records(PAGE) == {folder.name for folder in RECORDS}


@pytest.mark.slow
@pytest.mark.parametrize("folder", RECORDS, ids=lambda folder: folder.name)
def test_the_page_shows_what_the_record_says(folder: Path) -> None:
    compared, differ = wrong(PAGE, folder)
    assert compared > 500
    assert differ == []


@pytest.mark.skipif(not RECORDS, reason="no study is recorded yet")
def test_the_text_of_the_page_names_figures_of_its_tables_only() -> None:
    assert strange_figures(PAGE) == set()


def test_a_figure_of_the_text_that_no_table_has_is_found(page: str) -> None:
    known = tables(page, "record")["Gains"][1][1].split(" ")[0]
    text = f"{page}\nRID learns {known} at SD v1.5, with torch 2.15.0 and `0.5`, and loses 0.123456.\n"
    assert strange_figures(text) == {"0.123456"}
    measured = f"{page}\n## Costs\n\n    python benchmarks/step.py\n\nA step takes 0.123456 s.\n"
    assert strange_figures(measured) == set()
