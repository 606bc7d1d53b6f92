"""Prints the plan and the failures of a study as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rilbench.cli.output import print_table
from rilbench.engine.progress import duration
from rilbench_study.graph import Counts, Graph

PLAN = ("method", "runs", "finished", "stages", "shared", "in store", "evaluations", "measured", "time")


def print_plan(graph: Graph, *, err: bool = False) -> None:
    """A row per method; work that methods share is in each of their rows, and counted once in the last row.

    stages: distinct trained stages. shared: the number of trainings saved because runs have stages in common.
    """
    rows: list[list[str]] = []
    for label in (*graph.labels, None):
        if label is None:
            rows.append([])  # a line above the sum
        rows.append([label or "together", *_cells(graph.counts(label))])
    print_table(PLAN, rows, title="the plan", numbers=True, err=err)


def _cells(counts: Counts) -> list[str]:
    """The cells of a row of the table, except the method."""
    stages = [counts.stages, counts.shared, counts.stored]
    numbers = [counts.runs, counts.finished, *stages, counts.evaluations, counts.measured]
    time = "?" if math.isnan(counts.seconds) else duration(counts.seconds).removeprefix("about ")
    return [*map(str, numbers), time]


def print_failed(failed: Sequence[dict[str, Any]]) -> None:
    """Print the failed runs and their reasons."""
    rows = [[each["label"], " > ".join(each["rewards"]), str(each["seed"]), each["reason"]] for each in failed]
    print_table(["method", "order", "seed", "reason"], rows, title="failed")
