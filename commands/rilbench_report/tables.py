"""Tables for the page: plain cells that the template draws."""

from __future__ import annotations

from collections.abc import Mapping

from rilbench.analysis.comparison import Row
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread, chance
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_compare.formats import STAR, Cell, Sheet
from rilbench_report.study import SUMMARY, Study
from rilbench_report.words import SPACE, from_zero, percent_from_zero, percent_spread, points


def final(study: Study, caption: str, order: str = "") -> Sheet:
    """After the last stage: summary columns, then every metric with its forgetting. A row per base model, followed
    by a row per strategy measured on it. order: of the runs of that order only, without marks."""
    rows = []
    have = [s for s in study.labels if not order or any(run.order == order for run in study.of(s))]
    for base in sorted({study.base_of(s) for s in have}, key=lambda n: (n < 0, n)):
        if base >= 0:
            values = [Cell(number(study.base(info.name, base))) for info in study.metrics]
            rows.append([Cell(study.base_name(base)), *[Cell("")] * len(SUMMARY), *values])
        for s in (s for s in have if study.base_of(s) == base):
            n = study.seeds_of(s, order)
            cells = [*_summary(study, s, order), *(_metric(study, s, info, order) for info in study.metrics)]
            rows.append([Cell(f"{s}{study.mark(s)} ({n})"), *cells])
    head = ["strategy (seeds)", "trained rewards, change ↑", "learned ↑", "forgotten ↓", *map(header, study.metrics)]
    return Sheet(caption, head, rows)


def differences(study: Study) -> Sheet | None:
    """Summary columns and final values minus those of the reference; None if no strategy has runs to pair with it."""
    columns: dict[str, Mapping[str, Cell]] = {}
    for title, quantity in zip(("change, points", "learned, points", "forgotten, points"), SUMMARY, strict=True):
        tests = {s: test for (s, _), test in study.tests(quantity).items()}
        columns[title] = {s: _tested(test, points(Spread.read(test))) for s, test in tests.items()}
    for info in study.metrics:
        tests = {s: test for (s, metric), test in study.tests(Quantity.FINAL).items() if metric == info.name}
        base = study.base(info.name)
        columns[header(info)] = {
            s: _tested(test, Spread.read(test).text(base, signed=True)) for s, test in tests.items()
        }
    names = [s for s in study.labels if any(s in column for column in columns.values())]
    rows = [
        [Cell(f"{s} minus {study.against}"), *(column.get(s, Cell("-")) for column in columns.values())] for s in names
    ]
    return Sheet(f"minus {study.against}, paired", ["strategies", *columns], rows) if rows else None


def _summary(study: Study, s: str, order: str) -> list[Cell]:
    """The summary columns. Merges are marked: forgotten includes every reward, and learned is before merging."""
    average, learned, forgotten = (study.spread(s, q, order=order) for q in SUMMARY)
    merge = "(merge)" if study.is_merge(s) else ""
    best = {q: not order and study.row(s, q)["best"] for q in SUMMARY}
    return [
        Cell(percent_spread(average), bold=best[Quantity.AVERAGE]),
        Cell(percent_spread(learned), merge),
        Cell(percent_from_zero(forgotten), merge, bold=best[Quantity.AVERAGE_FORGOTTEN]),
    ]


def _metric(study: Study, s: str, info: MetricInfo, order: str) -> Cell:
    base = study.base(info.name)
    value, lost = (study.spread(s, q, info.name, order) for q in (Quantity.FINAL, Quantity.FORGETTING))
    best = not order and study.row(s, Quantity.FINAL, info.name)["best"]
    return Cell(value.text(base), f"({from_zero(lost, base)})", bold=best)


def _tested(test: Row, text: str) -> Cell:
    note = f"(p{SPACE}{chance(test['p_holm'])}, n{SPACE}{int(test['n'])})"
    return Cell(text, note, mark=STAR if test["significant"] else "")
