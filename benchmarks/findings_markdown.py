"""A table of findings in Markdown, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from findings_study import Effect

from rilbench.analysis.statistics import Spread

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    head: Row
    rows: Sequence[Row]

    def __str__(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"### {self.title}\n\n{self.note}\n\n{body}\n"


def number(value: float, like: float | None = None) -> str:
    """Three significant digits of `like`, by default of the value itself; `-` for NaN."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    size = abs(value if like is None else like)
    decimals = 2 - math.floor(math.log10(size)) if size else 0
    return f"{value:z.{max(decimals, 0)}f}"


def shown(found: Spread | Effect) -> str:
    """Mean ± half of the interval."""
    half = (found.high - found.low) / 2
    if math.isnan(found.mean) or math.isnan(half):
        return number(found.mean)
    like = max(abs(found.mean), half)
    return f"{number(found.mean, like)} ±{number(half, like)}"
