"""Tables for the page: plain cells that the template draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rilbench.analysis.comparison import ONE, Row
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread, chance
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_compare.formats import STAR, Cell, Sheet, rank
from rilbench_report.study import Study
from rilbench_report.words import SPACE, from_zero

OVER = {Quantity.AVERAGE: "left", Quantity.AVERAGE_LEARNED: "learned", Quantity.AVERAGE_FORGOTTEN: "forgotten"}


def final(study: Study, caption: str, order: str = "") -> Sheet:
    """After the last stage: every metric with its forgetting. A row per base model, followed by a row per strategy
    measured on it. order: of the runs of that order only, without marks."""
    rows = []
    have = [s for s in study.labels if not order or any(run.order == order for run in study.of(s))]
    for base in sorted({study.base_of(s) for s in have}, key=lambda n: (n < 0, n)):
        if base >= 0:
            values = [Cell(number(study.base(info.name, base))) for info in study.metrics]
            rows.append([Cell(study.base_name(base)), *values])
        for s in (s for s in have if study.base_of(s) == base):
            cells = [_metric(study, s, info, order) for info in study.metrics]
            rows.append([Cell(f"{s}{study.mark(s)} ({study.seeds_of(s, order)})"), *cells])
    return Sheet(caption, ["strategy (seeds)", *map(header, study.metrics)], rows)


def of_rewards(study: Study, caption: str) -> Sheet:
    """For every trained reward what is left of its gain at the end, and what its own stage had reached."""
    asked = [(q, reward) for reward in study.rewards for q in (Quantity.LEFT, Quantity.LEARNED)]
    rows = [[Cell(_named(study, s)), *(_gain(study, s, *key) for key in asked)] for s in study.labels]
    return Sheet(caption, ["strategy", *(f"{reward}, {quantity} ↑" for quantity, reward in asked)], rows)


def in_units(study: Study, caption: str) -> Sheet | None:
    """The means over the rewards in every unit, beside their mean rank; None if there is no unit."""
    units = study.shown_units
    head = [
        f"{what}, {column}" for q, what in OVER.items() for column in (*(f"{u} {_arrow(q)}" for u in units), "rank")
    ]
    cells = {s: [cell for quantity in OVER for cell in _over_rewards(study, s, quantity)] for s in study.labels}
    rows = [[Cell(_named(study, s)), *cells[s]] for s in study.labels]
    return Sheet(caption, ["strategy", *head], rows) if units else None


def differences(study: Study, quantities: Sequence[Quantity]) -> Sheet | None:
    """Differences from the reference; None if no strategy has runs to pair with it."""
    columns: dict[str, Mapping[str, Cell]] = {}
    for quantity in quantities:
        for info in study.columns(quantity):
            tests = {s: test for (s, metric), test in study.tests(quantity).items() if metric == info.name}
            like = study.like(info.name)
            title = f"{OVER[quantity]}, {header(info)}" if quantity in OVER else header(info)
            columns[title] = {s: _tested(test, Spread.read(test).text(like, signed=True)) for s, test in tests.items()}
    names = [s for s in study.labels if any(s in column for column in columns.values())]
    rows = [
        [Cell(f"{s} minus {study.against}"), *(column.get(s, Cell("-")) for column in columns.values())] for s in names
    ]
    return Sheet(f"minus {study.against}, paired", ["strategies", *columns], rows) if rows else None


def _named(study: Study, s: str) -> str:
    return f"{s}{study.mark(s)}{' (merge)' if study.is_merge(s) else ''}"


def _gain(study: Study, s: str, quantity: Quantity, reward: str) -> Cell:
    row = study.row(s, quantity, reward)
    return Cell(Spread.read(row).text(study.base(reward), signed=True), bold=row["best"])


def _over_rewards(study: Study, s: str, quantity: Quantity) -> list[Cell]:
    """In every unit, and the rank."""
    found = [study.row(s, quantity, unit) for unit in study.shown_units]
    signed = quantity is not Quantity.AVERAGE_FORGOTTEN
    cells = [Cell(Spread.read(row).text(ONE, signed=signed), bold=row["best"]) for row in found]
    return [*cells, Cell(rank(found[0]["rank"]))] if found else []


def _arrow(quantity: Quantity) -> str:
    return "↓" if quantity is Quantity.AVERAGE_FORGOTTEN else "↑"


def _metric(study: Study, s: str, info: MetricInfo, order: str) -> Cell:
    base = study.base(info.name)
    value, lost = (study.spread(s, q, info.name, order) for q in (Quantity.FINAL, Quantity.FORGETTING))
    best = not order and study.row(s, Quantity.FINAL, info.name)["best"]
    return Cell(value.text(base), f"({from_zero(lost, base)})", bold=best)


def _tested(test: Row, text: str) -> Cell:
    note = f"(p{SPACE}{chance(test['p_holm'])}, n{SPACE}{int(test['n'])})"
    return Cell(text, note, mark=STAR if test["significant"] else "")
