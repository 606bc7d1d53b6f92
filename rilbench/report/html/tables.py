"""Tables for the page: plain cells that the template draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rilbench.compare.statistics import Spread
from rilbench.report.html.study import Measure, Study, average, forgetting, forgotten, value
from rilbench.report.html.words import percent_spread, plus_minus
from rilbench.report.tables import header, number
from rilbench.result import MetricInfo


@dataclass(frozen=True)
class Cell:
    """`small` is a second line, in brackets in the table: forgetting."""

    text: str
    small: str = ""
    best: bool = False


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


def final(study: Study, caption: str) -> Table:
    """After the last stage, a row a strategy: summary columns, then every metric with its forgetting."""
    columns = [
        _shares(study, "trained rewards, change ↑", average, higher_is_better=True, signed=True),
        _shares(study, "trained rewards, forgotten ↓", forgotten, higher_is_better=False, signed=False),
        *(_metric(study, info) for info in study.metrics),
    ]
    names = ["base", *(f"{s} ({len(study.models(s))})" for s in study.strategies)]
    rows = [[Cell(name), *(column[i + 1] for column in columns)] for i, name in enumerate(names)]
    return Table(caption, ["strategy (models)", *(column[0].text for column in columns)], rows)


def _shares(study: Study, title: str, measure: Measure, *, higher_is_better: bool, signed: bool) -> list[Cell]:
    spreads = [study.spread(s, measure) for s in study.strategies]
    cells = [Cell(percent_spread(spread, signed=signed)) for spread in spreads]
    return [Cell(title), Cell(""), *_marked(cells, spreads, higher_is_better)]


def _metric(study: Study, info: MetricInfo) -> list[Cell]:
    base = study.base(info.name)
    spreads = [study.spread(s, lambda run: value(run, info.name)) for s in study.strategies]
    lost = [study.spread(s, lambda run: forgetting(run, info.name)) for s in study.strategies]
    cells = [Cell(plus_minus(a, base), plus_minus(f, base)) for a, f in zip(spreads, lost, strict=True)]
    return [Cell(header(info)), Cell(number(base)), *_marked(cells, spreads, info.higher_is_better)]


def _marked(cells: Sequence[Cell], spreads: Sequence[Spread], higher_is_better: bool) -> list[Cell]:
    """The cells with the best mean marked, where there is a choice."""
    known = [spread.mean for spread in spreads if not math.isnan(spread.mean)]
    choose: Callable[[Sequence[float]], float] = max if higher_is_better else min
    best = choose(known) if len(known) > 1 else math.nan
    return [replace(cell, best=spread.mean == best) for cell, spread in zip(cells, spreads, strict=True)]
