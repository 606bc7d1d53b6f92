"""The table of paired differences: every strategy against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rilbench.store.tables import header
from rilbench_report.measures import average, forgotten, learned, value
from rilbench_report.study import Study
from rilbench_report.tables import Cell, Table
from rilbench_report.verdicts import Verdict, verdicts
from rilbench_report.words import SPACE, chance, plus_minus, points


def differences(study: Study) -> Table | None:
    """Final values and summary columns minus those of the reference; None when no strategy shares enough with it."""
    shares = {
        "change, points": verdicts(study, average, study.strategies),
        "learned, points": verdicts(study, learned, study.strategies),
        "forgotten, points": verdicts(study, forgotten, study.sequences()),
    }
    columns = {title: {s: _shares(v) for s, v in found.items()} for title, found in shares.items()}
    for info in study.metrics:
        found = verdicts(study, partial(value, metric=info.name), study.strategies)
        columns[header(info)] = {s: _values(v, study.base(info.name)) for s, v in found.items()}
    names = [s for s in study.strategies if any(s in column for column in columns.values())]
    rows = [[Cell(f"{s} minus {study.reference}"), *_cells(list(columns.values()), s)] for s in names]
    return Table(f"minus {study.reference}, paired", ["strategies", *columns], rows) if rows else None


def _cells(columns: Sequence[dict[str, Cell]], strategy: str) -> list[Cell]:
    return [column.get(strategy, Cell("-")) for column in columns]


def _shares(verdict: Verdict) -> Cell:
    return Cell(points(verdict.spread), _small(verdict), sure=verdict.significant)


def _values(verdict: Verdict, like: float) -> Cell:
    return Cell(plus_minus(verdict.spread, like, signed=True), _small(verdict), sure=verdict.significant)


def _small(verdict: Verdict) -> str:
    return ", ".join(filter(None, [chance(verdict.p), f"n{SPACE}{verdict.spread.n}"]))
