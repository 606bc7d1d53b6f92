"""A table as text, before it is laid out for a terminal, Markdown or LaTeX, and how its numbers are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rilbench.analysis.statistics import Spread
from rilbench.store.tables import number

STAR = "*"  # the test over runs
DAGGER = "†"  # the test over prompts


@dataclass(frozen=True)
class Cell:
    """A value with the marks of its tests and, beside or under it, a note in brackets; bold is the best."""

    value: str
    note: str = ""
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """A row; `rule` draws a line above it."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: names of the label columns, headers of the columns of cells, rows. `bold` says what bold cells are, for
    where they can be seen."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    caption: str
    bold: str = ""

    def explained(self) -> str:
        """The caption, with what bold means when a cell is."""
        has_bold = any(cell.bold for line in self.lines for cell in line.cells)
        return f"{self.bold} {self.caption}" if has_bold else self.caption


def mean_and_half(spread: Spread, like: float, *, signed: bool = False) -> str:
    """Mean ± half the 95 % interval, with the decimals of `like`; NaN: those of the mean."""
    like = spread.mean if math.isnan(like) else like
    sign = "+" if signed and spread.mean > 0 else ""
    half = "" if math.isnan(spread.half) else f" ±{number(spread.half, like)}"
    return f"{sign}{number(spread.mean, like)}{half}"


def fewer(spread: Spread, n: int) -> str:
    """`n=...` for a cell with fewer values than its row's n; empty for as many, and for none."""
    return f"n={spread.n}" if 0 < spread.n != n else ""


def chance(p: float) -> str:
    """A p value."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"
