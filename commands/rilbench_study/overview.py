"""A study's outcome in one small table: what every method ends with, over all its finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from rilbench.analysis.quantities import Quantity, metrics_of
from rilbench.contracts.result import RunResult
from rilbench.engine.progress import duration
from rilbench.store.tables import header, number
from rilbench_study.graph import Graph


def lines(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """The untouched base model first, then each method: its finished runs and the mean of each metric over its models
    after their last stage (NaN: not measured)."""
    if not results:
        return []
    from rilbench.analysis.statistics import means
    from rilbench.analysis.table import quantity_table

    found = quantity_table(results, [Quantity.FINAL])
    base = found.groupby("metric", observed=True)["base"].first()
    final = means(found).pivot(index="label", columns="metric", values="mean")
    runs = found.groupby("label", observed=True)["run"].nunique()
    of_methods = [{"label": label, "runs": int(n), "final": final.loc[label].to_dict()} for label, n in runs.items()]
    return [{"label": "base", "runs": 0, "final": base.to_dict()}, *of_methods]


def table(results: Sequence[RunResult]) -> Table:
    """For a terminal."""
    shown = Table(title="after the last stage: mean over the models of all orders and seeds")
    shown.add_column("method")
    shown.add_column("runs", justify="right")
    metrics, found = metrics_of(results), lines(results)
    for info in metrics:
        shown.add_column(Text(header(info)), justify="right")
    for line in found:
        cells = [number(line["final"].get(info.name, math.nan), found[0]["final"][info.name]) for info in metrics]
        shown.add_row(Text(line["label"]), str(line["runs"] or ""), *cells)
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
