"""A study's plan and its failures as small tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rilbench.cli.output import print_table
from rilbench.engine.progress import duration
from rilbench_study.graph import Graph

PLAN = ("method", "runs", "finished", "stages", "shared", "in store", "evaluations", "measured", "time")


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
