"""The tables of a comparison: by strategy and order, the means of strategies, their differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.quantities import TITLES, Quantity
from rilbench.cli.templates import filled
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_compare import paper
from rilbench_compare.formats import DAGGER, STAR, Cell, Line, Sheet

Found = Mapping[str, Any]  # a row of means, orders or differences


def sheets(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> list[Sheet]:
    """All tables of a comparison, or those of means only."""
    means = [means_sheet(comparison, quantity, published=published) for quantity in comparison.quantities]
    if only_means:
        return means
    tested = len(comparison.labels) > 1
    tests = [differences_sheet(comparison, quantity) for quantity in comparison.quantities] if tested else []
    return [orders_sheet(comparison, published=published), *means, *tests]


def orders_sheet(comparison: Comparison, *, published: bool = False) -> Sheet:
    """The base model, then a row for every strategy and order; a final value has its forgetting in brackets.

    In a comparison of one order, the test over prompts is about these very models, and marks them.
    """
    quantity = comparison.quantities[0]
    infos, tests = comparison.columns(quantity), _tests(comparison)
    lines = [_base_line(comparison, infos)] if quantity is Quantity.FINAL else []
    found = {(r["label"], r["order"], r["quantity"], r["metric"]): r for r in comparison.orders.to_dict("records")}
    groups = {key: list(runs) for key, runs in groupby(comparison.runs, key=lambda r: (r.label, " > ".join(r.rewards)))}
    one_order = len({order for _, order in groups}) == 1
    for (label, order), runs in groups.items():
        cells = []
        for info in infos:
            row = found[label, order, quantity, info.name]
            forgotten = found.get((label, order, Quantity.FORGETTING, info.name))
            lost = forgotten if quantity is Quantity.FINAL else None
            test = tests.get((label, quantity, info.name), {}) if one_order else {}
            mark = DAGGER if test.get("significant_prompts") is True else ""
            cells.append(_cell(row, comparison.base(info.name), len(runs), lost=lost, mark=mark))
        lines.append(Line((label, order, str(len(runs))), tuple(cells)))
    if published:
        rows = paper.rows(comparison)
        lines += paper.lines([*(rows["base"] if quantity is Quantity.FINAL else []), *rows["orders"]], infos, quantity)
    return Sheet(
        title=f"{TITLES[quantity]}; by strategy and order",
        labels=("strategy", "order", "seeds"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=caption("orders", comparison, quantity, lines, published=published),
    )


def means_sheet(comparison: Comparison, quantity: Quantity, *, published: bool = False) -> Sheet:
    """A row for every strategy: the mean over its orders and seeds ± half its 95 % interval."""
    infos, tests = comparison.columns(quantity), _tests(comparison)
    lines = [_base_line(comparison, infos)] if quantity is Quantity.FINAL else []
    own = comparison.means[comparison.means["quantity"] == quantity].to_dict("records")
    for label, group in groupby(own, key=lambda row: row["label"]):
        cells = []
        for row in (rows := list(group)):
            star = STAR if tests.get((label, quantity, row["metric"]), {}).get("significant") else ""
            cells.append(_cell(row, comparison.base(row["metric"]), row["models"], mark=star, bold=row["best"]))
        lines.append(Line((label, str(rows[0]["orders"]), str(rows[0]["models"])), tuple(cells)))
    with_paper = published and quantity is Quantity.FINAL  # the paper gives no mean of its forgetting
    if with_paper:
        rows_ = paper.rows(comparison)
        lines += paper.lines([*rows_["base"], *rows_["means"]], infos, quantity)
    return Sheet(
        title=f"{TITLES[quantity]}; mean over orders and seeds",
        labels=("strategy", "orders", "models"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=caption("means", comparison, quantity, lines, published=with_paper),
        bold="Bold: the best mean.",
    )


def differences_sheet(comparison: Comparison, quantity: Quantity) -> Sheet:
    """For every strategy but the one compared against, a row for every metric: difference, n and p."""
    infos = {info.name: info for info in comparison.columns(quantity)}
    own = comparison.differences[comparison.differences["quantity"] == quantity]
    prompts = "prompts" in own and bool((own["prompts"] > 0).any())
    lines, above = [], ""
    for test in own.to_dict("records"):
        labels = (f"{test['label']} - {comparison.against}", header(infos[test["metric"]]))
        cells = _difference_cells(test, comparison.base(test["metric"]))
        lines.append(Line(labels, cells if prompts else cells[:-1], rule=above not in ("", test["label"])))
        above = test["label"]
    columns = ("difference", "n", "p (runs)", "p (prompts)")
    return Sheet(
        title=f"{TITLES[quantity]}; differences, matched by order and seed",
        labels=("strategies", "metric"),
        columns=columns if prompts else columns[:-1],
        lines=tuple(lines),
        caption=caption("differences", comparison, quantity, lines, published=False),
    )


def _tests(comparison: Comparison) -> dict[tuple[str, str, str], Found]:
    """The tests whose marks a strategy's mean may carry: those about the same orders and seeds as the mean."""
    means = comparison.means[comparison.means["comparable"]]
    keys = set(zip(means["label"], means["quantity"], means["metric"], strict=True))
    tests = {(t["label"], t["quantity"], t["metric"]): t for t in comparison.differences.to_dict("records")}
    return {key: test for key, test in tests.items() if key in keys}


def _base_line(comparison: Comparison, infos: list[MetricInfo]) -> Line:
    return Line(("base", "", ""), tuple(Cell(number(comparison.base(info.name))) for info in infos))


def _cell(row: Found, base: float, n: int, *, lost: Found | None = None, mark: str = "", bold: bool = False) -> Cell:
    """A mean; in brackets n where it is less than the row's, and what was forgotten."""
    notes = [_fewer(row, n)]
    if lost is not None:
        notes.append(", ".join(filter(None, (mean_and_half(lost, base), _fewer(lost, n)))))
    note = "; ".join(filter(None, notes))
    return Cell(mean_and_half(row, base), f"({note})" if note else "", bold=bold, mark=mark)


def _difference_cells(test: Found, base: float) -> tuple[Cell, ...]:
    dagger = DAGGER if test.get("significant_prompts") is True else ""
    return (
        Cell(mean_and_half(test, base, signed=True), mark=STAR if test["significant"] else ""),
        Cell(str(int(test["n"]))),
        Cell(chance(test["p_holm"])),
        Cell(chance(test.get("p_prompts_holm", math.nan)), mark=dagger),
    )


def mean_and_half(row: Found, like: float, *, signed: bool = False) -> str:
    """Mean ± half the 95 % interval, with the decimals of `like`; NaN: those of the mean."""
    mean, half = row["mean"], row["high"] - row["mean"]
    like = mean if math.isnan(like) else like
    sign = "+" if signed and mean > 0 else ""
    return f"{sign}{number(mean, like)}{'' if math.isnan(half) else f' ±{number(half, like)}'}"


def chance(p: float) -> str:
    """A p value."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _fewer(row: Found, n: int) -> str:
    """`n=...` for a cell with fewer values than its row's n; empty for as many, and for none."""
    return f"n={row['n']}" if 0 < row["n"] != n else ""


def caption(table: str, comparison: Comparison, quantity: Quantity, lines: Sequence[Line], *, published: bool) -> str:
    """table: orders, means or differences; published: whether the paper's numbers are among the lines."""
    cells = [cell for line in lines for cell in line.cells]
    tests = comparison.differences[comparison.differences["quantity"] == quantity]
    content = {
        "table": table,
        "quantity": quantity,
        "against": comparison.against,
        "prompts": sorted(tests["prompts"].dropna().astype(int).unique()) if "prompts" in tests else [],
        "has_n": any("n=" in cell.note for cell in cells),
        "marked": any(cell.mark for cell in cells),
        "others": _not_comparable(comparison, quantity),
        "paper": paper.document() if published else None,
    }
    return " ".join(filled("rilbench_compare", "captions.j2", **content).split())


def _not_comparable(comparison: Comparison, quantity: Quantity) -> list[str]:
    """Strategies with other orders and seeds than the one compared against; the metrics, when it is not all of them."""
    means = comparison.means[comparison.means["quantity"] == quantity]
    told = []
    for label in comparison.labels:
        own = means[(means["label"] == label) & (means["n"] > 0)]
        other = list(own.loc[~own["comparable"], "metric"])
        if other:
            told.append(label if len(other) == len(own) else f"{label} ({', '.join(other)})")
    return told
