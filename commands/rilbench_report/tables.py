"""Tables for the page: plain cells that the template draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_report.study import SUMMARY, Study, Test
from rilbench_report.words import SPACE, chance, from_zero, percent_from_zero, percent_spread, plus_minus, points


@dataclass(frozen=True)
class Cell:
    """`small` is a second line, in brackets in the table; best: of its column; sure: a difference beyond chance."""

    text: str
    small: str = ""
    best: bool = False
    sure: bool = False


@dataclass(frozen=True)
class Table:
    """Head and rows; the first cell of each is its name."""

    caption: str
    head: list[str]
    rows: list[list[Cell]]
    words: bool = False  # rather than numbers: cells break their lines


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> Table:
    """A table of texts."""
    return Table(caption, list(head), [[Cell(text) for text in row] for row in rows], words)


def final(study: Study, caption: str, order: str = "") -> Table:
    """After the last stage: summary columns, then every metric with its forgetting. A row for each base model, and
    under it one for each strategy measured on it. order: of the runs of that order only, without marks."""
    rows = []
    have = [s for s in study.strategies if not order or any(run.order == order for run in study.of(s))]
    for base in sorted({study.comparison.base_of(s) for s in have}, key=lambda n: (n < 0, n)):
        if base >= 0:
            values = [Cell(number(study.comparison.base(info.name, base))) for info in study.metrics]
            rows.append([Cell(study.base_name(base)), *[Cell("")] * len(SUMMARY), *values])
        for s in (s for s in have if study.comparison.base_of(s) == base):
            n = len({run.result.seed for run in study.of(s) if run.order == order}) if order else study.models(s)
            cells = [*_summary(study, s, order), *(_metric(study, s, info, order) for info in study.metrics)]
            rows.append([Cell(f"{s}{study.mark(s)} ({n})"), *cells])
    head = ["strategy (models)", "trained rewards, change ↑", "learned ↑", "forgotten ↓", *map(header, study.metrics)]
    return Table(caption, head, rows)


def differences(study: Study) -> Table | None:
    """Summary columns and final values minus those of the reference; None when no strategy shares enough with it."""
    shares = dict(zip(("change, points", "learned, points", "forgotten, points"), SUMMARY, strict=True))
    columns = {
        title: {s: _tested(test, points(spread_of(test))) for (s, _), test in study.tests(q).items()}
        for title, q in shares.items()
    }
    tests = study.tests(Quantity.FINAL)
    for info in study.metrics:
        base = study.comparison.base(info.name)
        columns[header(info)] = {
            s: _tested(test, plus_minus(spread_of(test), base, signed=True))
            for (s, metric), test in tests.items()
            if metric == info.name
        }
    names = [s for s in study.strategies if any(s in column for column in columns.values())]
    rows = [
        [Cell(f"{s} minus {study.reference}"), *(column.get(s, Cell("-")) for column in columns.values())]
        for s in names
    ]
    return Table(f"minus {study.reference}, paired", ["strategies", *columns], rows) if rows else None


def _summary(study: Study, s: str, order: str) -> list[Cell]:
    """Merges are marked: they leave out no reward of what is forgotten, and learned counts before they were merged."""
    found = {q: study.spread(s, q, order=order) for q in SUMMARY}
    merge = "merge" if study.merges(s) else ""
    best = {q: not order and study.best(s, q) for q in SUMMARY}
    return [
        Cell(percent_spread(found[Quantity.AVERAGE]), best=best[Quantity.AVERAGE]),
        Cell(percent_spread(found[Quantity.AVERAGE_LEARNED]), merge),
        Cell(percent_from_zero(found[Quantity.AVERAGE_FORGOTTEN]), merge, best=best[Quantity.AVERAGE_FORGOTTEN]),
    ]


def _metric(study: Study, s: str, info: MetricInfo, order: str) -> Cell:
    base = study.comparison.base(info.name)
    value, lost = (study.spread(s, q, info.name, order) for q in (Quantity.FINAL, Quantity.FORGETTING))
    best = not order and study.best(s, Quantity.FINAL, info.name)
    return Cell(plus_minus(value, base), from_zero(lost, base), best=best)


def _tested(test: Test, text: str) -> Cell:
    return Cell(text, f"{chance(test['p_holm'])}, n{SPACE}{int(test['n'])}", sure=test["significant"])


def spread_of(test: Test) -> Spread:
    """The differences of a test."""
    return Spread(*(test[name] for name in Spread._fields))
