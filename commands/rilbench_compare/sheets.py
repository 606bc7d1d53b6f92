"""The tables of a comparison: by strategy and order, the means of strategies, their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.analysis.comparison import Comparison, Row
from rilbench.analysis.quantities import AVERAGES, TITLES, Quantity
from rilbench.analysis.statistics import Spread, chance
from rilbench.analysis.units import SINGLE
from rilbench.cli.templates import filled
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_compare import paper
from rilbench_compare.formats import DAGGER, STAR, Cell, Sheet, rank


def sheets(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> list[Sheet]:
    """All tables of a comparison, or those of means only."""
    means = [values_sheet(comparison, quantity, published=published) for quantity in comparison.quantities]
    if only_means:
        return means
    tested = len(comparison.labels) > 1
    tests = [differences_sheet(comparison, quantity) for quantity in comparison.quantities] if tested else []
    orders = values_sheet(comparison, comparison.quantities[0], by_order=True, published=published)
    return [orders, *means, *tests]


def values_sheet(
    comparison: Comparison, quantity: Quantity, *, by_order: bool = False, published: bool = False
) -> Sheet:
    """The base model, then a row per strategy: the mean over its orders and seeds ± half its 95 % interval.

    by_order: a row for every strategy and order, a final value with its forgetting in brackets.
    """
    infos, final = comparison.columns(quantity), quantity is Quantity.FINAL
    ranked = quantity in AVERAGES and bool(infos) and not by_order
    rows = [[*map(Cell, ("base", "", "")), *_base(comparison, infos)]] if final else []
    for label in comparison.labels:
        orders = dict.fromkeys(run.order for run in comparison.of(label))
        for order in orders if by_order else [""]:
            n = comparison.seeds_of(label, order)
            cells = [_value(comparison, label, quantity, info.name, order, n) for info in infos]
            cells += [_rank(comparison, label, quantity, infos)] if ranked else []
            rows.append([*map(Cell, (label, order or str(len(orders)), str(n))), *cells])
    with_paper = published and (by_order or final)  # the paper reports no mean forgetting
    if with_paper:
        given = paper.rows(comparison)
        chosen = [*(given["base"] if final else []), *given["orders" if by_order else "means"]]
        rows += paper.cells(chosen, infos, quantity)
    names = ["strategy", "order" if by_order else "orders", "seeds"]
    return Sheet(
        title=f"{TITLES[quantity]}; {'by strategy and order' if by_order else 'mean over orders and seeds'}",
        head=[*names, *map(header, infos), *(["rank ↓"] if ranked else [])],
        rows=rows,
        names=3,
        caption=_caption("orders" if by_order else "means", comparison, quantity, rows, published=with_paper),
    )


def differences_sheet(comparison: Comparison, quantity: Quantity) -> Sheet:
    """For every strategy except the reference, a row per metric: difference, seeds and p."""
    infos = {info.name: info for info in comparison.columns(quantity)}
    tests = comparison.tests(quantity)
    head = ["strategies", "metric", "difference", "seeds", "p", "seeds needed"]
    prompts = any(test.get("p_crossed", math.nan) >= 0 for test in tests.values())
    rows: list[list[Cell]] = []
    above = ""
    for (label, metric), test in tests.items():
        rows += [[]] if above not in ("", label) else []
        names = [f"{label} - {comparison.against}", header(infos[metric])]
        cells = _difference(test, comparison.like(metric))
        rows.append([*map(Cell, names), *cells[: len(head) - 2 + 2 * prompts]])
        above = label
    return Sheet(
        title=f"{TITLES[quantity]}; differences, paired by order and seed",
        head=[*head, "± (prompts)", "p (prompts)"] if prompts else head,
        rows=rows,
        names=2,
        caption=_caption("differences", comparison, quantity, rows, published=False),
    )


def _base(comparison: Comparison, infos: Sequence[MetricInfo]) -> list[Cell]:
    return [Cell(number(comparison.base(info.name))) for info in infos]


def _value(comparison: Comparison, label: str, quantity: Quantity, metric: str, order: str, n: int) -> Cell:
    """A mean; in brackets its number of values where that is not n, the row's, and by order what was forgotten.

    * marks a test over seeds, by order only in a comparison of one order.
    """
    mean, row = comparison.row(label, quantity, metric), comparison.row(label, quantity, metric, order)
    test = comparison.tests(quantity).get((label, metric), {}) if mean["comparable"] else {}
    notes = [_fewer(row, n)]
    tested = not order or len({run.order for run in comparison.runs}) == 1
    mark = STAR if tested and test.get("significant") else ""
    if order and quantity is Quantity.FINAL:
        lost = comparison.row(label, Quantity.FORGETTING, metric, order)
        notes.append(", ".join(filter(None, (Spread.read(lost).text(comparison.base(metric)), _fewer(lost, n)))))
    note = "; ".join(filter(None, notes))
    text = Spread.read(row).text(comparison.like(metric))
    return Cell(text, f"({note})" if note else "", bold=not order and row["best"], mark=mark)


def _rank(comparison: Comparison, label: str, quantity: Quantity, infos: Sequence[MetricInfo]) -> Cell:
    return Cell(rank(comparison.row(label, quantity, infos[0].name)["rank"]))


def _difference(test: Row, base: float) -> list[Cell]:
    wider = (test.get("high_crossed", math.nan) - test.get("low_crossed", math.nan)) / 2
    needed = test["seeds_needed"]
    return [
        Cell(Spread.read(test).text(base, signed=True), mark=STAR if test["significant"] else ""),
        Cell(str(int(test["n"]))),
        Cell(test["untested"] or chance(test["p_holm"])),
        Cell("-" if math.isnan(needed) else str(int(needed))),
        Cell(number(wider, test["mean"] if math.isnan(base) else base)),
        Cell(
            chance(test.get("p_crossed_holm", math.nan)), mark=DAGGER if test.get("significant_crossed") is True else ""
        ),
    ]


def _fewer(row: Row, n: int) -> str:
    """`n=...` for a cell with fewer values than its row's n; empty for a full or an empty cell."""
    return f"n={row['n']}" if 0 < row["n"] != n else ""


def _caption(
    table: str, comparison: Comparison, quantity: Quantity, rows: Sequence[Sequence[Cell]], *, published: bool
) -> str:
    """table: orders, means or differences; published: whether the paper's numbers are among the rows."""
    cells = [cell for row in rows for cell in row]
    tests = comparison.tests(quantity).values()
    content = {
        "table": table,
        "quantity": quantity,
        "against": comparison.against,
        "prompts": sorted({int(test["prompts"]) for test in tests if test.get("p_crossed", math.nan) >= 0}),
        "seeds": len({run.seed for run in comparison.runs}),
        "has_n": any("n=" in cell.note for cell in cells),
        "marked": any(cell.mark for cell in cells),
        "others": _not_comparable(comparison, quantity),
        "paper": paper.document() if published else None,
        "units": _units(comparison) if quantity in AVERAGES else [],
    }
    return " ".join(filled("rilbench_compare", "captions.j2", **content).split())


def _units(comparison: Comparison) -> list[str]:
    """What each unit is, with its size for every reward, and why one is not shown."""
    units, run = comparison.units, comparison.of(comparison.against)[0]
    texts = []
    for unit in units.shown(comparison.runs):
        sizes = ", ".join(f"{reward} {number(units.size(run, unit, reward))}" for reward in comparison.rewards)
        seeds = sorted({units.seeds.get((units.bases[run.name], reward), 0) for reward in comparison.rewards})
        over = f"; over {' or '.join(map(str, seeds))} seeds" if unit == SINGLE else ""
        texts.append(f"{unit}: {comparison.unit_name(unit)} ({sizes}{over})")
    return [*texts, *units.notes(comparison.runs)]


def _not_comparable(comparison: Comparison, quantity: Quantity) -> list[str]:
    """Strategies whose orders and seeds differ from the reference's; with the metrics if not all are affected."""
    labels = []
    for label in comparison.labels:
        rows = [comparison.row(label, quantity, info.name) for info in comparison.columns(quantity)]
        own = [row for row in rows if row["n"] > 0]
        other = [row["metric"] for row in own if not row["comparable"]]
        if other:
            labels.append(label if len(other) == len(own) else f"{label} ({', '.join(other)})")
    return labels
