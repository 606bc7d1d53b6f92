"""A study's plan and outcome as small tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rilbench.analysis.quantities import Quantity, metrics_of
from rilbench.cli.output import print_table
from rilbench.contracts.result import RunResult
from rilbench.engine.progress import duration
from rilbench.store.tables import header, number
from rilbench_study.graph import Graph

PLAN = ("method", "runs", "finished", "stages", "shared", "in store", "evaluations", "measured", "time")


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


def print_lines(results: Sequence[RunResult]) -> None:
    """`lines` for a terminal."""
    metrics, found = metrics_of(results), lines(results)
    rows = [
        [line["label"], str(line["runs"] or "")]
        + [number(line["final"].get(info.name, math.nan), found[0]["final"][info.name]) for info in metrics]
        for line in found
    ]
    title = "after the last stage: mean over the models of all orders and seeds"
    print_table(["method", "runs", *map(header, metrics)], rows, title=title, numbers=True)


def print_plan(graph: Graph, *, err: bool = False) -> None:
    """A line for each method; what methods share is on the line of each, and counted once in the last.

    stages: different ones that are trained. shared: how many trainings are saved because runs have stages in common.
    """
    rows: list[list[str]] = []
    for label in (*graph.labels, None):
        *counts, seconds = vars(graph.counts(label)).values()
        time = "?" if math.isnan(seconds) else duration(seconds).removeprefix("about ")
        rows += [[label, *map(str, counts), time]] if label else [[], ["together", *map(str, counts), time]]
    print_table(PLAN, rows, title="the plan", numbers=True, err=err)


def print_failed(failed: Sequence[dict[str, Any]]) -> None:
    """What failed and why."""
    rows = [[each["label"], " > ".join(each["rewards"]), str(each["seed"]), each["reason"]] for each in failed]
    print_table(["method", "order", "seed", "reason"], rows, title="failed")
