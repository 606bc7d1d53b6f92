"""The tables of a comparison as text, before they are laid out for a terminal, Markdown or LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rilbench.compare import captions, paper
from rilbench.compare.comparison import Comparison
from rilbench.compare.differences import Difference
from rilbench.compare.groups import Group, best
from rilbench.compare.quantities import TITLES, Quantity
from rilbench.report.tables import header, number
from rilbench.result import MetricInfo


@dataclass(frozen=True)
class Cell:
    """A value and, beside or under it, a note in brackets; bold is the best, a star a significant difference."""

    value: str
    note: str = ""
    bold: bool = False
    star: bool = False


@dataclass(frozen=True)
class Line:
    """A row; `rule` draws a line above it."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: names of the label columns, headers of the columns of cells, rows."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    caption: str


def sheets(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> list[Sheet]:
    """The tables of a comparison: by strategy and order, the means of strategies, their differences."""
    means = [means_sheet(comparison, quantity, published=published) for quantity in comparison.shown()]
    if only_means:
        return means
    tests = [differences_sheet(comparison)] if comparison.differences else []
    return [orders_sheet(comparison, published=published), *means, *tests]


def orders_sheet(comparison: Comparison, *, published: bool = False) -> Sheet:
    """The base model, then a row for every strategy and order; a final value has its forgetting in brackets."""
    infos, quantity = comparison.columns(), comparison.quantity
    lines = [_base_line(comparison, infos)] if quantity is Quantity.FINAL else []
    for group in comparison.orders:
        labels = (group.label, " > ".join(group.rewards), str(len(group.runs)))
        lines.append(Line(labels, tuple(_order_cell(comparison, group, info) for info in infos)))
    if published:
        bases = [paper.base()] if quantity is Quantity.FINAL else []
        rows = [*bases, *paper.beside_orders(comparison.orders)]
        lines += [_paper_line(row, infos, quantity, rule=i == 0) for i, row in enumerate(rows)]
    return Sheet(
        title=f"{TITLES[quantity]}; by strategy and order",
        labels=("strategy", "order", "seeds"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=captions.orders(quantity, published=published),
    )


def means_sheet(comparison: Comparison, quantity: Quantity, *, published: bool = False) -> Sheet:
    """A row for every strategy: mean over its orders and seeds, standard deviation, 95 % interval."""
    infos = comparison.columns(quantity)
    tops = {i.name: best(comparison.strategies, quantity, i.name, i.higher_is_better) for i in infos}
    tested = {(d.label, d.metric) for d in comparison.differences if d.significant and quantity is Quantity.FINAL}
    lines = [_base_line(comparison, infos)] if quantity is Quantity.FINAL else []
    for group in comparison.strategies:
        orders = len({run.rewards for run in comparison.runs if run.label == group.label})
        cells = tuple(
            _mean_cell(
                comparison,
                group,
                quantity,
                info.name,
                bold=group.label in tops[info.name],
                star=(group.label, info.name) in tested,
            )
            for info in infos
        )
        lines.append(Line((group.label, str(orders), str(len(group.runs))), cells))
    with_paper = published and quantity is Quantity.FINAL  # the paper gives no mean of its forgetting
    if with_paper:
        rows = [paper.base(), *paper.beside_means(comparison.strategies)]
        lines += [_paper_line(row, infos, quantity, rule=i == 0) for i, row in enumerate(rows)]
    return Sheet(
        title=f"{TITLES[quantity]}; mean over orders and seeds",
        labels=("strategy", "orders", "runs"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=captions.means(comparison, quantity, published=with_paper),
    )


def differences_sheet(comparison: Comparison) -> Sheet:
    """A row for every strategy but the one they are tested against: difference of final values, and p."""
    infos, found = comparison.columns(), {(d.label, d.metric): d for d in comparison.differences}
    lines = []
    for label in dict.fromkeys(d.label for d in comparison.differences):
        tests = [found[label, info.name] for info in infos]
        cells = tuple(_difference_cell(comparison, test) for test in tests)
        lines.append(Line((f"{label} - {comparison.against}", str(tests[0].runs)), cells))
    return Sheet(
        title=f"Final value minus that of {comparison.against}",
        labels=("strategies", "matched runs"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=captions.differences(comparison),
    )


def _base_line(comparison: Comparison, infos: list[MetricInfo]) -> Line:
    values = [comparison.base(info.name) for info in infos]
    return Line(("base", "", ""), tuple(Cell(number(value)) for value in values))


def _order_cell(comparison: Comparison, group: Group, info: MetricInfo) -> Cell:
    note = ""
    if comparison.quantity is Quantity.FINAL:
        note = f"({_with_half(comparison, group, Quantity.FORGETTING, info.name)})"
    return Cell(_with_half(comparison, group, comparison.quantity, info.name), note)


def _with_half(comparison: Comparison, group: Group, quantity: Quantity, metric: str) -> str:
    spread, like = group.spread(quantity, metric), comparison.base(metric)
    half = "" if math.isnan(spread.half) else f" ±{number(spread.half, like)}"
    return f"{number(spread.mean, like)}{half}"


def _mean_cell(
    comparison: Comparison, group: Group, quantity: Quantity, metric: str, *, bold: bool, star: bool
) -> Cell:
    spread, like = group.spread(quantity, metric), comparison.base(metric)
    if math.isnan(spread.sd):
        return Cell(number(spread.mean, like), bold=bold, star=star)
    value = f"{number(spread.mean, like)} ±{number(spread.sd, like)}"
    return Cell(value, f"[{number(spread.low, like)}, {number(spread.high, like)}]", bold=bold, star=star)


def _difference_cell(comparison: Comparison, test: Difference) -> Cell:
    text = number(test.spread.mean, comparison.base(test.metric))
    sign = "+" if test.spread.mean > 0 else ""
    p = "" if math.isnan(test.p_holm) else "(p <0.001)" if test.p_holm < 0.001 else f"(p {test.p_holm:.3f})"
    return Cell(f"{sign}{text}", p, star=test.significant)


def _paper_line(row: paper.Line, infos: list[MetricInfo], quantity: Quantity, *, rule: bool) -> Line:
    cells = tuple(_paper_cell(row, info.name, quantity) for info in infos)
    return Line((f"{row.label} (paper)", " > ".join(row.rewards), ""), cells, rule=rule)


def _paper_cell(row: paper.Line, metric: str, quantity: Quantity) -> Cell:
    values: Mapping[str, float | None] = row.forgetting if quantity is Quantity.FORGETTING else row.final
    if metric not in values:
        return Cell("")
    note = f"({paper.text(metric, row.forgetting[metric])})" if quantity is Quantity.FINAL and row.forgetting else ""
    return Cell(paper.text(metric, values[metric]), note)
