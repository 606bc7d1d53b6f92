"""The published rows below ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rilbench.analysis.quantities import Quantity
from rilbench.contracts.result import MetricInfo
from rilbench_compare import paper
from rilbench_compare.cells import Cell, Line


def paper_lines(rows: Sequence[paper.Line], infos: Sequence[MetricInfo], quantity: Quantity) -> list[Line]:
    """The lines of published rows, a rule above the first."""
    return [
        Line(
            labels=(f"{row.label} (paper)", " > ".join(row.rewards), ""),
            cells=tuple(_cell(row, info.name, quantity) for info in infos),
            rule=i == 0,
        )
        for i, row in enumerate(rows)
    ]


def _cell(row: paper.Line, metric: str, quantity: Quantity) -> Cell:
    values: Mapping[str, float | None] = row.forgetting if quantity is Quantity.FORGETTING else row.final
    if metric not in values:
        return Cell("")
    note = f"({paper.text(metric, row.forgetting[metric])})" if quantity is Quantity.FINAL and row.forgetting else ""
    return Cell(paper.text(metric, values[metric]), note)
