"""Tables for the page: plain cells that the template draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_report.bases import settings_of
from rilbench_report.measures import Measure, average, forgetting, forgotten, is_merge, learned, value
from rilbench_report.runs import Base
from rilbench_report.study import Study
from rilbench_report.words import from_zero, percent_from_zero, percent_spread, plus_minus


@dataclass(frozen=True)
class Cell:
    """`small` is a second line, in brackets in the table; best: of its column; sure: a difference beyond chance."""

    text: str
    small: str = ""
    best: bool = False
    sure: bool = False


Column = dict[str, Cell]  # strategy -> its cell


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


def final(study: Study, caption: str, metrics: Sequence[MetricInfo]) -> Table:
    """After the last stage: summary columns, then these metrics with their forgetting. A row for each base model, and
    under it one for each strategy measured on it."""
    shares = {
        "trained rewards, change ↑": _changes(study),
        "learned ↑": _learned(study),
        "forgotten ↓": _forgotten(study),
    }
    measured = [(info, _metric(study, info)) for info in metrics]
    rows = []
    for base in dict.fromkeys([*study.bases, *map(study.base_of, study.strategies)]):
        on_it = [s for s in study.strategies if study.base_of(s) == base]
        if base in study.bases and on_it:
            values = [Cell(number(study.base(info.name, base))) for info, _ in measured]
            rows.append([Cell(_name(study, base)), *[Cell("")] * len(shares), *values])
        for s in on_it:
            cells = [column[s] for column in (*shares.values(), *(column for _, column in measured))]
            rows.append([Cell(f"{s}{study.mark(s)} ({len(study.models(s))})"), *cells])
    return Table(caption, ["strategy (models)", *shares, *(header(info) for info, _ in measured)], rows)


def _name(study: Study, base: Base) -> str:
    mark = "†" * study.bases.index(base)
    return f"base{mark}: {settings_of(study, base)}" if mark else "base"


def _changes(study: Study) -> Column:
    spreads = _spreads(study, average)
    return _marked(study, {s: Cell(percent_spread(spreads[s])) for s in spreads}, spreads, higher_is_better=True)


def _learned(study: Study) -> Column:
    return {s: Cell(percent_spread(spread)) for s, spread in _spreads(study, learned).items()}


def _forgotten(study: Study) -> Column:
    """Merges are shown, but only sequences are ranked."""
    spreads = _spreads(study, forgotten)
    notes = {s: "merge" if any(map(is_merge, study.of(s))) and spreads[s].n else "" for s in spreads}
    cells = {s: Cell(percent_from_zero(spreads[s]), notes[s]) for s in spreads}
    return _marked(study, cells, {s: spreads[s] for s in study.sequences()}, higher_is_better=False)


def _metric(study: Study, info: MetricInfo) -> Column:
    base, spreads = study.base(info.name), _spreads(study, lambda run: value(run, info.name))
    lost = _spreads(study, lambda run: forgetting(run, info.name))
    cells = {s: Cell(plus_minus(spreads[s], base), from_zero(lost[s], base)) for s in spreads}
    return _marked(study, cells, spreads, higher_is_better=info.higher_is_better)


def _spreads(study: Study, measure: Measure) -> dict[str, Spread]:
    return {s: study.spread(s, measure) for s in study.strategies}


def _marked(study: Study, cells: Column, spreads: dict[str, Spread], *, higher_is_better: bool) -> Column:
    """The cells with the best mean marked, among the strategies of these spreads that can be ranked."""
    means = {s: spreads[s].mean for s in study.comparable() if s in spreads and not math.isnan(spreads[s].mean)}
    choose: Callable[[Sequence[float]], float] = max if higher_is_better else min
    best = choose(list(means.values())) if len(means) > 1 else math.nan
    return {s: replace(cell, best=means.get(s) == best) for s, cell in cells.items()}
