"""`rilbench compare` as it is printed: every format read back, widths, the paper's numbers, mistakes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fabricate
import numpy as np
import pytest
from checkout import ROOT
from rich.console import Console
from stores import BACKWARDS, FORWARDS, METRICS, A, C, H, save
from typer.testing import CliRunner, Result

from rilbench.analysis.comparison import compare
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.sources import load_runs
from rilbench.cli import app
from rilbench.contracts.errors import UsageError
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench_compare import formats, paper
from rilbench_compare.formats import Cell, Sheet
from rilbench_compare.sheets import sheets

NUMBER = re.compile(r"[-+]?\d+\.\d+")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS), range(3)):
        save(folder, "rid", rewards, seed)
        save(folder, "baseline", rewards, seed, shift=-0.2)
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def printed(*arguments: str | Path) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout


PLAIN = {
    r"\*": "*",
    "**": "",
    r"\textbf{": "",
    "$^{*}$": "*",
    r"$^{\dagger}$": "†",
    "}": "",
    r"$\pm$": "±",
    r"$\uparrow$": "↑",
    r"$\downarrow$": "↓",
    "$-$": "-",
    "$<$": "<",
    "$>$": ">",
    r"\_": "_",
    r"\%": "%",
}


def plain(cell: str) -> str:
    """Markdown and LaTeX of a cell as text."""
    for mark, text in PLAIN.items():
        cell = cell.replace(mark, text)
    return cell.strip()


def expected_rows(store: Path) -> list[list[str]]:
    """What every layout of the tables must say, cell by cell, made of the records."""
    found = sheets(compare(load_runs([str(store)], lambda source: []), warn=pytest.fail))
    text = [
        [f"{cell.text}{cell.mark} {cell.note}".strip() for cell in row] for sheet in found for row in sheet.rows if row
    ]
    assert len(text) == 5 + 3 + 2 + 6 + 6
    return text


@pytest.mark.slow
def test_csv_and_json_say_the_same(store: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(printed(store, "--format", "csv", "--paper"))))
    tables = json.loads(printed(store, "--json", "--paper"))
    assert tables == json.loads(printed(store, "--format", "json", "--paper"))
    flat = [record | {"table": table} for table, found in tables.items() for record in found]
    assert len(rows) == len(flat) > 100
    for row, record in zip(rows, flat, strict=True):
        for key, text in row.items():
            value = record.get(key)
            if isinstance(value, float):
                assert float(text) == value
            else:
                assert text == (" > ".join(value) if isinstance(value, list) else "" if value is None else str(value))


@pytest.mark.slow
def test_json_holds_null_for_nan(store: Path) -> None:
    found = json.loads(printed(store, "--json"))["orders"]
    masked = [r for r in found if r["metric"] == "png_kb" and r["quantity"] == "forgetting" and r["order"][-1] == C]
    assert masked
    assert all(r["mean"] is None for r in masked)


@pytest.mark.slow
def test_markdown_rows(store: Path) -> None:
    lines = [line for line in printed(store, "--markdown").splitlines() if line.startswith("|")]
    rows = [[plain(cell) for cell in line.strip("|").split("|")] for line in lines]
    heads = [row for row, below in itertools.pairwise(rows) if set(below[0]) == {"-"}]
    assert [row[:2] for row in heads] == [
        ["strategy", "order"],
        *[["strategy", "orders"]] * 2,
        *[["strategies", "metric"]] * 2,
    ]
    assert heads[0][3:] == [
        f"{m.name}{' ' + m.unit if m.unit == '%' else ''} {'↑↓'[not m.higher_is_better]}" for m in METRICS
    ]
    body = [row for row in rows if row not in heads and set(row[0]) != {"-"}]
    assert body == expected_rows(store)


@pytest.mark.slow
def test_latex_cells(store: Path) -> None:
    text = printed(store, "--format", "latex")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\begin{table}") == 5
    assert (
        re.search(r"(?<!\\)[%_#&](?! )", text.replace("% \\usepackage", "").replace("{%\n", "")) is None
    )  # escaped, or between cells
    assert r"png\_kb $\downarrow$ & fid $\downarrow$ & oracle \% $\uparrow$ \\" in text
    assert text.count(r"\resizebox{\textwidth}{!}{%") == text.count(r"\end{tabular}}") == 4  # not the narrow ones
    layouts = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    tables = re.findall(r"\\begin\{tabular\}\{[lr]+\}\n(.*?)\\end\{tabular\}", text, re.S)
    rows = []
    for layout, table in zip(layouts, tables, strict=True):
        lines = [line for line in table.splitlines() if line.endswith(r" \\")]
        cells = [[plain(cell) for cell in line.removesuffix(r" \\").split(" & ")] for line in lines]
        assert {len(row) for row in cells} == {len(layout)}
        rows += cells[1:]
    assert rows == expected_rows(store)
    assert text.isascii()
    for opened, closed in (("{", "}"), (r"\begin", r"\end")):
        assert text.count(opened) == text.count(closed)


def test_a_row_by_hand() -> None:
    """a ends at 3, 2, 2.5 after 3: mean 2.5, sd 0.5, half = 4.303 x 0.5 / sqrt(3), F = 0, 1, 0.5."""
    infos = (
        MetricInfo(name="a", higher_is_better=True, target_of=("a",)),
        MetricInfo(name="size_kb", higher_is_better=False, unit="kB", target_of=("b",)),
    )

    def run(seed: int, end: float) -> RunResult:
        steps = ((), 1.0, 50.0), (("a",), 3.0, 60.0), (("b",), end, 55.0)
        rows = tuple(Row(label="", rewards=r, values={"a": a, "size_kb": size}) for r, a, size in steps)
        matrix = ResultMatrix(rows, infos)
        return RunResult(
            name=f"{seed}", strategy="rid", rewards=("a", "b"), seed=seed, matrix=matrix, status="finished"
        )

    runs = [run(0, 3.0), run(1, 2.0), run(2, 2.5)]
    orders, means, *_ = map(formats.markdown, sheets(compare(runs, warn=pytest.fail)))
    assert "| base |  |  | 1.000 | 50.00 |" in orders
    assert "| rid | a > b | 3 | 2.500 ±1.242 (0.500 ±1.242) | 55.00 (-) |" in orders
    assert "| rid | 1 | 3 | 2.500 ±1.242 | 55.00 |" in means


@pytest.mark.slow
def test_the_text_is_the_records_rounded(store: Path) -> None:
    """Cells of the tables of orders, means and differences against the JSON, which test_compare.py checks."""
    tables = json.loads(printed(store, "--json"))
    by_key = {
        (name, r["quantity"], r["label"], *r.get("order", ()), r["metric"]): r
        for name in ("orders", "means", "differences")
        for r in tables[name]
    }
    orders, final, forgotten, tests, lost = sheets(
        compare(load_runs([str(store)], lambda source: []), warn=pytest.fail)
    )

    def same(cell: str, key: tuple[str, ...], *fields: str) -> None:
        record = by_key[key]
        half = {} if record["high"] is None else {"half": record["high"] - record["mean"]}
        numbers = NUMBER.findall(cell)
        known = {field: value for field, value in (record | half).items() if value is not None}
        wanted = [known[field] for field in fields if field in known]
        assert len(numbers) == len(wanted)
        for number, value in zip(numbers, wanted, strict=True):
            assert abs(float(number) - value) <= 0.501 * 10 ** -len(number.partition(".")[2])

    for i, info in enumerate(METRICS):
        for row in orders.rows[1:]:
            key = (row[0].text, *row[1].text.split(" > "), info.name)
            same(row[i + 3].text, ("orders", "final", *key), "mean", "half")
            same(row[i + 3].note, ("orders", "forgetting", *key), "mean", "half")
        for quantity, sheet in (("final", final), ("forgetting", forgotten)):
            for row in sheet.rows[-2:]:
                same(row[i + 3].text, ("means", quantity, row[0].text, info.name), "mean", "half")
        for quantity, sheet in (("final", tests), ("forgetting", lost)):
            key = ("differences", quantity, "baseline", info.name)
            test, cells = by_key[key], sheet.rows[i][2:]
            same(cells[0].text, key, "mean", "half")
            assert cells[0].mark == "*" * test["significant"]
            assert [cell.text for cell in cells[1:3]] == [str(test["n"]), chance(test["p_holm"])]
            assert cells[3].text == f"{test['seeds_needed']:.0f}"
            if "p_crossed" in test:
                half = (test["high_crossed"] - test["low_crossed"]) / 2
                assert abs(float(cells[4].text) - half) <= 0.501 * 10 ** -len(cells[4].text.partition(".")[2])
                assert cells[5].text == chance(test["p_crossed_holm"])
                assert cells[5].mark == "†" * test["significant_crossed"]


def chance(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("-0.5 a-b", "$-$0.5 a-b"),
        ("x\\~^#${}", r"x\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$\{\}"),
    ],
)
def test_latex_escapes(text: str, latex: str) -> None:
    sheet = Sheet("t", ["name", "c"], [[Cell(text), Cell("1")]])
    assert f"{latex} & 1 \\\\\n" in formats.latex(sheet)


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_terminal_shows_every_number_within_its_width(store: Path, width: int) -> None:
    for sheet in sheets(compare(load_runs([str(store)], lambda source: []), warn=pytest.fail), published=True):
        console = Console(file=io.StringIO(), width=width)
        formats.show(sheet, console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        wanted = sorted(
            n for row in sheet.rows for cell in row[sheet.names :] for n in NUMBER.findall(cell.text + cell.note)
        )
        table = "\n".join(line for line in text.splitlines() if line.startswith("│"))
        assert sorted(NUMBER.findall(table)) == wanted


@pytest.mark.slow
def test_bold_and_stars(store: Path) -> None:
    means = printed(store, "--markdown", "--means").split("\n\n")[1].splitlines()
    base, baseline, rid = ([cell.strip() for cell in line.strip("|").split("|")] for line in means[2:])
    found = json.loads(printed(store, "--json"))["differences"]
    tests = {d["metric"]: d for d in found if d["quantity"] == "final"}
    for i, info in enumerate(METRICS, start=3):
        assert (r"\*" in baseline[i]) == tests[info.name]["significant"]
        assert baseline[i].startswith("**") != rid[i].startswith("**")
        assert baseline[i].startswith("**") == (not info.higher_is_better)  # it is 20 % lower everywhere
        assert "*" not in base[i]
    assert {test["significant"] for test in tests.values()} == {True, False}


@pytest.mark.slow
def test_six_orders_of_one_seed_have_no_interval_and_no_star(tmp_path: Path) -> None:
    """Orders are fixed and share stages: they say nothing about training again."""
    for rewards in itertools.permutations(FORWARDS):
        save(tmp_path, "rid", rewards)
        save(tmp_path, "baseline", rewards, shift=-0.5)
    tables = json.loads(printed(tmp_path, "--json"))
    assert {(d["n"], d["low"], d["p"], d["untested"]) for d in tables["differences"]} == {(1, None, None, "one seed")}
    assert {d.get("p_crossed") for d in tables["differences"]} == {None}
    assert {(m["n"], m["low"], m["best"]) for m in tables["means"]} == {(1, None, False)}
    text = printed(tmp_path, "--markdown")
    assert "±0" not in text
    assert "There is a single seed, so there are no intervals and no tests." in text
    assert "| 1 | one seed | - |" in text


@pytest.mark.slow
def test_the_orders_are_marked_where_there_is_one(store: Path) -> None:
    assert r"\*" not in printed(store, "--markdown").split("\n\n")[1]
    order = ["--rewards", ",".join(FORWARDS)]
    _, baseline, rid = printed(store, "--markdown", *order).split("\n\n")[1].splitlines()[2:]
    found = json.loads(printed(store, "--json", *order))["differences"]
    wanted = [d["significant"] for d in found if d["quantity"] == "final"]
    assert [r"\*" in cell for cell in baseline.strip("|").split("|")[3:]] == wanted
    assert any(wanted)
    assert r"\*" not in rid


@pytest.mark.slow
def test_bold_is_explained_where_it_is_seen(store: Path) -> None:
    assert "Bold: the best mean." in printed(store, "--markdown", "--means")
    assert "Bold" not in printed(store, "--means")  # a pipe
    assert "Bold" not in printed(store, "--markdown", "--means", "--strategies", "rid")  # nothing to be better than
    sheet = sheets(compare(load_runs([str(store)], lambda source: []), warn=pytest.fail), only_means=True)[0]
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    formats.show(sheet, console)
    assert "Bold: the best mean." in console.file.getvalue()  # type: ignore[attr-defined]


def test_cells_of_fewer_seeds_say_so(tmp_path: Path) -> None:
    """One seed lacks the oracle, and another one of its orders."""
    for rewards, seed in itertools.product((FORWARDS, BACKWARDS), range(3)):
        lacking = seed == 1 or (rewards, seed) == (BACKWARDS, 2)
        save(tmp_path, "rid", rewards, seed, without=["oracle"] if lacking else [])
    orders, final, forgotten = printed(tmp_path, "--markdown").split("\n\n")[1::3][:3]
    told = [re.findall(r"n=(\d)", cell) for cell in forgotten.splitlines()[-1].strip("|").split("|")[3:]]
    assert dict(zip([info.name for info in METRICS], told, strict=True)) == {
        A: [],
        H: [],
        C: [],
        "png_kb": [],
        "fid": [],
        "oracle": ["2"],
    }
    assert re.findall(r"n=\d", final) == ["n=2"]
    assert re.search(r"\(n=1; \d+\.\d+, n=1\)", orders)


@pytest.mark.slow
def test_one_format_at_a_time(store: Path) -> None:
    for options in (["--json", "--markdown"], ["--format", "csv", "--json"], ["--format", "latex", "--markdown"]):
        done = invoke(store, *options)
        assert isinstance(done.exception, UsageError)
        assert "one format, not " in str(done.exception)
    assert printed(store, "--format", "json", "--json") == printed(store, "--json")


def test_the_page_describes_every_quantity_and_table(store: Path) -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == list(Quantity)
    assert all(f"`{name}`" in page for name in json.loads(printed(store, "--json", "--paper")))


@pytest.mark.slow
def test_means_only(store: Path) -> None:
    assert set(json.loads(printed(store, "--json", "--means"))) == {"base", "means"}
    assert printed(store, "--markdown", "--means", "-q", "average").count("| strategy |") == 2  # by reward, in units


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    text = printed(save(tmp_path, "rid"), "--markdown")
    assert not [line for line in text.splitlines() if line.startswith("|") and ("±" in line or "[" in line)]
    assert "**5" not in text


def published() -> dict[str, Any]:
    return json.loads((Path(paper.__file__).parent / "paper.json").read_text())  # type: ignore[no-any-return]


def test_the_papers_numbers_agree_with_each_other() -> None:
    """Its means are those of its orders up to rounding; its forgetting is at least what the base and the end tell."""
    data = published()
    for strategy in ("baseline", "rid"):
        rows = [row for row in data["orders"] if row["strategy"] == strategy]
        assert {tuple(row["rewards"]) for row in rows} == set(itertools.permutations((A, H, C)))
        for metric, decimals in data["decimals"].items():
            mean = np.mean([row["values"][metric] for row in rows])
            assert data["means"][strategy][metric] == pytest.approx(mean, abs=1.01 * 10**-decimals)
    for row in data["orders"]:
        for metric, lost in row["forgetting"].items():
            target = {A: A, H: H, "png_kb": C, "jpeg_kb": C}.get(metric)
            assert (lost is None) == (row["rewards"][-1] == target)
            sign = -1 if metric in ("png_kb", "jpeg_kb", "fid") else 1
            if lost is not None:
                assert (
                    lost
                    >= sign * (data["base"][metric] - row["values"][metric]) - 1.01 * 10 ** -data["decimals"][metric]
                )


@pytest.mark.slow
def test_the_paper_is_beside_and_in_no_mean(store: Path) -> None:
    ours, both = (json.loads(printed(store, "--json", *more)) for more in ((), ("--paper",)))
    assert {name: both[name] for name in ours} == ours
    assert set(both) - set(ours) == {"paper_base", "paper_orders", "paper_means"}
    data = published()
    seen = {
        (r["label"], *r["order"], r["quantity"], r["metric"]): r["mean"]
        for r in [*both["paper_orders"], *both["paper_means"]]
    }
    shared = (A, H, "png_kb", "fid")
    expected = {("rid", "final", m): data["means"]["rid"][m] for m in shared}
    expected |= {("baseline", "final", m): data["means"]["baseline"][m] for m in shared}
    for row in data["orders"]:
        if tuple(row["rewards"]) in (FORWARDS, BACKWARDS):
            for quantity, key in (("final", "values"), ("forgetting", "forgetting")):
                cells = {m: v for m, v in row[key].items() if m in shared and v is not None}
                expected |= {(row["strategy"], *row["rewards"], quantity, m): v for m, v in cells.items()}
    assert seen == expected
    text = printed(store, "--markdown", "--paper")
    row = "| rid (paper) | aesthetic > hps > compressibility |"
    assert f"{row}  | 5.55 (0.48) | 0.272 (0.004) |  | 373.63 (-) | 80.28 (8.74) |  |" in text
    assert "| base (paper) |  |  | 5.23 | 0.259 |  | 425.13 | 71.54 |  |" in text
    assert "published for Stable Diffusion v1.5" in text
    assert "different model" in text


def test_the_paper_has_no_mean_of_other_rewards(tmp_path: Path) -> None:
    save(tmp_path, "rid", (A, H))
    tables = json.loads(printed(tmp_path, "--json", "--paper"))
    assert tables["paper_orders"] == tables["paper_means"] == []
    done = invoke(tmp_path, "--paper", "-q", "learned")
    assert isinstance(done.exception, UsageError)
    assert re.search(r"--paper.*learned.*final.*forgetting", str(done.exception))


@pytest.mark.slow
def test_an_address_is_asked_of_a_plugin(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"""
from dataclasses import replace
from pathlib import Path
from rilbench.store.results import load_result

class Hook:
    @hookimpl
    def find_runs(self, source):
        if source == "http://here:5000/#/experiments/1":
            folders = sorted(Path({str(store)!r}).glob("*-seed0"))
            return [replace(load_result(folder), folder=None) for folder in folders]
"""
    fabricate.hook(tmp_path, "server", source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    own = store / "rid-aesthetic-hps-compressibility-seed1"
    tables = json.loads(printed("http://here:5000/#/experiments/1", own, "--json"))
    assert {r["label"]: r["n"] for r in tables["means"] if r["metric"] == A and r["quantity"] == "final"} == {
        "baseline": 1,
        "rid": 2,
    }
    assert not any("p_crossed" in d for d in tables["differences"])
    assert "(prompts)" not in printed("http://here:5000/#/experiments/1", "--markdown")


@pytest.mark.slow
def test_compare_imports_nothing_heavy(store: Path) -> None:
    code = (
        "import sys\nfrom rilbench.cli import app\n"
        f"app(['compare', {str(store)!r}, '--markdown'], standalone_mode=False)\n"
        "print('LOADED', [m for m in ('torch', 'mlflow', 'diffusers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LOADED []\n")


@pytest.mark.slow
def test_a_strategy_without_matching_runs_is_not_tested(tmp_path: Path) -> None:
    save(tmp_path, "rid", FORWARDS, 0)
    save(tmp_path, "baseline", BACKWARDS, 0)
    tests = json.loads(printed(tmp_path, "--json"))["differences"]
    assert {(d["n"], d["matched"], d["p"], d["significant"]) for d in tests} == {(0, 0, None, False)}
    assert re.search(r"orders and seeds.* rid.*: baseline", printed(tmp_path, "--markdown"))
