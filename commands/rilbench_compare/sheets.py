"""The tables of a comparison: by strategy and order, the means of strategies, their differences."""

from __future__ import annotations

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.differences import Difference
from rilbench.analysis.groups import Group
from rilbench.analysis.quantities import TITLES, Quantity
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_compare import captions, paper
from rilbench_compare.cells import DAGGER, STAR, Cell, Line, Sheet, chance, fewer, mean_and_half
from rilbench_compare.paper_lines import paper_lines


def sheets(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> list[Sheet]:
    """All tables of a comparison, or those of means only."""
    means = [means_sheet(comparison, quantity, published=published) for quantity in comparison.shown()]
    if only_means:
        return means
    tests = [differences_sheet(comparison, each) for each in comparison.shown()] if comparison.differences else []
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
        lines += paper_lines([*bases, *paper.beside_orders(comparison.orders)], infos, quantity)
    return Sheet(
        title=f"{TITLES[quantity]}; by strategy and order",
        labels=("strategy", "order", "seeds"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=captions.orders(comparison, lines=lines, published=published),
    )


def means_sheet(comparison: Comparison, quantity: Quantity, *, published: bool = False) -> Sheet:
    """A row for every strategy: the mean over its orders and seeds ± half its 95 % interval."""
    infos = comparison.columns(quantity)
    tops = {info.name: comparison.best(quantity, info) for info in infos}
    lines = [_base_line(comparison, infos)] if quantity is Quantity.FINAL else []
    for group in comparison.strategies:
        orders = len({run.rewards for run in comparison.runs if run.label == group.label})
        cells = [_mean_cell(comparison, group, quantity, i.name, bold=group.label in tops[i.name]) for i in infos]
        lines.append(Line((group.label, str(orders), str(len(group.runs))), tuple(cells)))
    with_paper = published and quantity is Quantity.FINAL  # the paper gives no mean of its forgetting
    if with_paper:
        lines += paper_lines([paper.base(), *paper.beside_means(comparison.strategies)], infos, quantity)
    return Sheet(
        title=f"{TITLES[quantity]}; mean over orders and seeds",
        labels=("strategy", "orders", "models"),
        columns=tuple(map(header, infos)),
        lines=tuple(lines),
        caption=captions.means(comparison, quantity, lines=lines, published=with_paper),
        bold="Bold: the best mean.",
    )


def differences_sheet(comparison: Comparison, quantity: Quantity) -> Sheet:
    """For every strategy but the one compared against, a row for every metric: difference, n and p."""
    infos = {info.name: info for info in comparison.columns(quantity)}
    tests = [test for test in comparison.differences if test.quantity is quantity]
    prompts = any(test.prompts for test in tests)
    lines, above = [], ""
    for test in tests:
        labels = (f"{test.label} - {test.against}", header(infos[test.metric]))
        cells = _difference_cells(test, comparison.base(test.metric))
        lines.append(Line(labels, cells if prompts else cells[:-1], rule=above not in ("", test.label)))
        above = test.label
    columns = ("difference", "n", "p (runs)", "p (prompts)")
    return Sheet(
        title=f"{TITLES[quantity]}; differences, matched by order and seed",
        labels=("strategies", "metric"),
        columns=columns if prompts else columns[:-1],
        lines=tuple(lines),
        caption=captions.differences(tests),
    )


def _base_line(comparison: Comparison, infos: list[MetricInfo]) -> Line:
    values = [comparison.base(info.name) for info in infos]
    return Line(("base", "", ""), tuple(Cell(number(value)) for value in values))


def _order_cell(comparison: Comparison, group: Group, info: MetricInfo) -> Cell:
    """In a comparison of one order, the test over prompts is about these very models."""
    quantity, base, runs = comparison.quantity, comparison.base(info.name), len(group.runs)
    spread = group.spread(quantity, info.name)
    if quantity is not Quantity.FINAL:
        return Cell(mean_and_half(spread, base), _bracketed(fewer(spread, runs)))
    lost = group.spread(Quantity.FORGETTING, info.name)
    forgetting = ", ".join(filter(None, (mean_and_half(lost, base), fewer(lost, runs))))
    test = comparison.marking(group.label, quantity, info.name) if comparison.one_order() else None
    mark = DAGGER if test and test.prompts and test.prompts.significant else ""
    note = "; ".join(filter(None, (fewer(spread, runs), forgetting)))
    return Cell(mean_and_half(spread, base), _bracketed(note), mark=mark)


def _mean_cell(comparison: Comparison, group: Group, quantity: Quantity, metric: str, *, bold: bool) -> Cell:
    spread = group.spread(quantity, metric)
    test = comparison.marking(group.label, quantity, metric)
    return Cell(
        mean_and_half(spread, comparison.base(metric)),
        _bracketed(fewer(spread, len(group.runs))),
        bold=bold,
        mark=STAR if test and test.runs.significant else "",
    )


def _difference_cells(test: Difference, base: float) -> tuple[Cell, ...]:
    runs, prompts = test.runs, test.prompts
    return (
        Cell(mean_and_half(runs.spread, base, signed=True), mark=STAR if runs.significant else ""),
        Cell(str(runs.spread.n)),
        Cell(chance(runs.p_holm)),
        Cell(chance(prompts.p_holm) if prompts else "-", mark=DAGGER if prompts and prompts.significant else ""),
    )


def _bracketed(note: str) -> str:
    return f"({note})" if note else ""
