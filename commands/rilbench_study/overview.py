"""A study's outcome in one small table: what every method ends with, over all its finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rich.table import Table
from rich.text import Text

from rilbench.contracts.result import MetricInfo, RunResult
from rilbench.engine.progress import duration
from rilbench.store.tables import header, number
from rilbench_study.graph import Graph


@dataclass(frozen=True)
class Line:
    """A method's finished runs and the mean of each metric after their last stage (NaN: not measured)."""

    label: str
    runs: int
    final: dict[str, float]


def lines(results: Sequence[RunResult]) -> list[Line]:
    """The untouched base model first, then each method, over all orders and seeds."""
    labels = list(dict.fromkeys(result.label for result in results))
    base = [Line("base", 0, _means(results, 0))] if results else []
    return base + [_line(label, [result for result in results if result.label == label]) for label in labels]


def _line(label: str, results: Sequence[RunResult]) -> Line:
    return Line(label, len(results), _means(results, -1))


def _means(results: Sequence[RunResult], row: int) -> dict[str, float]:
    means = {}
    for info in _metrics(results):
        values = [result.matrix.rows[row].values.get(info.name, math.nan) for result in results]
        known = [value for value in values if not math.isnan(value)]
        means[info.name] = fmean(known) if known else math.nan
    return means


def _metrics(results: Sequence[RunResult]) -> list[MetricInfo]:
    """All columns of tables; whose reward trains a metric does not matter here."""
    return list({info.name: info for result in results for info in result.matrix.shown}.values())


def table(results: Sequence[RunResult]) -> Table:
    """For a terminal."""
    shown = Table(title="after the last stage: mean over all orders and seeds")
    shown.add_column("method")
    shown.add_column("runs", justify="right")
    metrics, found = _metrics(results), lines(results)
    for info in metrics:
        shown.add_column(Text(header(info)), justify="right")
    for line in found:
        cells = [number(line.final.get(info.name, math.nan), found[0].final[info.name]) for info in metrics]
        shown.add_row(Text(line.label), str(line.runs or ""), *cells)
    return shown


def plan_table(graph: Graph) -> Table:
    """The plan, a line a method. What methods share is on the line of each, and once in the last.

    stages: different ones that are trained. shared: how many trainings are saved because runs have stages in common.
    """
    shown = Table("method", title="the plan")
    for name in ("runs", "finished", "stages", "shared", "in store", "evaluations", "measured", "time"):
        shown.add_column(name, justify="right")
    labels = list(dict.fromkeys(cell.config.label for cell in graph.cells))
    for label in (*labels, None):
        counts = graph.counts(label)
        figures = [counts.runs, counts.finished, counts.stages, counts.shared, counts.stored, counts.evaluations]
        time = "?" if math.isnan(counts.seconds) else duration(counts.seconds).removeprefix("about ")
        shown.add_row(
            Text(label or "together"), *map(str, [*figures, counts.measured, time]), end_section=label == labels[-1]
        )
    return shown


def failed_table(failed: Sequence[dict[str, Any]]) -> Table:
    """What failed and why."""
    shown = Table("method", "order", "seed", "reason", title="failed")
    for values in failed:
        cells = (values["label"], " > ".join(values["rewards"]), str(values["seed"]), values["reason"])
        shown.add_row(*map(Text, cells))
    return shown
