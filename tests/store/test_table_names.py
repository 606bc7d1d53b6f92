"""Names with the marks of rich, Markdown, LaTeX and HTML stand in every table as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import write_run

from rilbench.analysis.comparison import compare
from rilbench.cli.output import print_result, print_table
from rilbench.contracts.result import ResultMatrix, RunResult
from rilbench.engine.terminal import Terminal
from rilbench.store import tables
from rilbench.store.files import write_json
from rilbench.store.results import load_result
from rilbench_compare import formats
from rilbench_compare.records import as_csv, records
from rilbench_compare.sheets import sheets
from rilbench_explain import view as explained
from rilbench_report.page import write_report
from rilbench_study import overview

LABEL = "[v2] a|b <i>*c*</i>"
METRIC = "kb|[red]"


def named(folder: Path) -> RunResult:
    """A run whose label, stages and a metric have such names."""
    run = load_result(write_run(folder, "rid"))
    infos = tuple(replace(i, name=METRIC) if i.name == "kb" else i for i in run.matrix.metrics)
    rows = tuple(
        replace(r, label=LABEL if i else "base", values={METRIC if k == "kb" else k: v for k, v in r.values.items()})
        for i, r in enumerate(run.matrix.rows)
    )
    return replace(run, label=LABEL, matrix=ResultMatrix(rows, infos))


def terminal_tables(run: RunResult, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    failed = {"label": LABEL, "rewards": [METRIC], "seed": 0, "reason": "because"}
    print_result(run)
    yield capsys.readouterr().out
    overview.print_failed([failed])
    yield capsys.readouterr().out
    print_table([METRIC, "x"], [[LABEL, "y"]])
    yield capsys.readouterr().out
    console = Terminal(file=io.StringIO(), width=250)
    for sheet in sheets(compare([run], warn=pytest.fail)):
        formats.show(sheet, console)
    yield console.file.getvalue()  # type: ignore[attr-defined]


def test_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, text in enumerate(terminal_tables(named(tmp_path), capsys)):
        flat = " ".join(text.split())
        assert "[v2]" in flat, number
        assert METRIC in flat, number


def test_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    stage = {
        "label": LABEL,
        "trained_by": LABEL,
        "train": None,
        "start": "base",
        "samples": 0,
        "updates": 0,
        "in_store": True,
        "kept": False,
        "seconds": 0.0,
        "gradients": None,
    }
    told = {"strategy": LABEL, "after": "", "rewards": [METRIC], "stages": [stage], "base_loras": []}
    told |= {"settings": {}, "device": "cpu"}
    told |= {"parameters": {"trainable": 1, "adapted_layers": 1, "frozen": 1}, "evaluation_images": 1}
    told |= {"estimate": {"seconds": 1.0, "how": ""}}
    told |= {"memory": {"weights_gb": 1, "needed_gb": 1, "free_gb": 1, "fits": True, "remedies": []}}
    explained.show(told)
    assert capsys.readouterr().out.count("[v2]") == 3


def cells(line: str) -> int:
    return line.replace("\\|", "").count("|") - 1


def test_in_markdown(tmp_path: Path) -> None:
    run = named(tmp_path)
    texts = [tables.markdown(run), *map(formats.markdown, sheets(compare([run], warn=pytest.fail)))]
    for text in texts:
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len({cells(line) for line in lines}) == 1
        assert r"\[v2] a\|b \<i>\*c\*\</i>" in text
        assert r"kb\|\[red]" in text


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (123.456, None, "123.5"),
        (0.056912, None, "0.05691"),
        (-0.00036049, None, "-0.000360"),
        (0.00000012, None, "0.000000120"),
        (0.0, None, "0.00000"),
        (0.0, -0.00036, "0.000000"),
        (float("nan"), 1.0, "-"),
    ],
)
def test_small_numbers_have_three_digits(value: float, like: float | None, text: str) -> None:
    assert tables.number(value, like) == text


def test_in_latex_and_csv(tmp_path: Path) -> None:
    comparison = compare([named(tmp_path)], warn=pytest.fail)
    text = formats.latex(sheets(comparison)[0])
    assert r"{[}v2{]} a\textbar{}b $<$i$>$*c*" in text
    rows = list(csv.DictReader(io.StringIO(as_csv(records(comparison)))))
    assert {row["label"] for row in rows} == {"base", LABEL}
    assert METRIC in {row["metric"] for row in rows}


def test_in_html(tmp_path: Path) -> None:
    run = named(tmp_path)
    assert run.folder
    for record in tmp_path.glob("stages/*/stage.json"):
        record.unlink()
    write_json(run.folder / "result.json", run.to_json())
    from rilbench.host.catalog import Catalog

    write_report([str(run.folder)], tmp_path / "page.html", Catalog(), print)
    page = (tmp_path / "page.html").read_text()
    assert "[v2] a|b &lt;i&gt;*c*&lt;/i&gt;" in page
    assert "<i>*c*" not in page
