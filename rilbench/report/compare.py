"""Finished runs side by side: one line per label and order, mean over seeds with a 95 % interval, forgetting."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from rilbench.errors import UsageError
from rilbench.report.tables import header, markdown_table, number
from rilbench.result import MetricInfo, RunResult

# two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and half the width of its interval; NaN half-width for one seed."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Student's interval of the mean."""
        known = [v for v in values if not math.isnan(v)]
        if len(known) < 2:
            return cls(known[0] if known else math.nan, math.nan)
        t = STUDENT[min(len(known) - 1, len(STUDENT)) - 1]
        return cls(statistics.fmean(known), t * statistics.stdev(known) / math.sqrt(len(known)))


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only; `label` is the strategy's name unless the run was given one."""

    label: str
    rewards: tuple[str, ...]
    runs: tuple[RunResult, ...]

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return self.runs[0].matrix.metrics

    def has(self, metric: str) -> bool:
        return any(m.name == metric for m in self.metrics)

    def base(self, metric: str) -> float:
        return self.runs[0].matrix.values(metric)[0]

    def final(self, metric: str) -> Spread:
        return Spread.of([run.matrix.values(metric)[-1] for run in self.runs])

    def forgetting(self, metric: str) -> Spread:
        """F of Eq. 3 at the end; NaN where a table masks it."""
        last = [(run.matrix, len(run.matrix.rows) - 1) for run in self.runs]
        return Spread.of([math.nan if m.masked(metric, t) else m.forgetting(metric, t) for m, t in last])

    def to_json(self) -> dict[str, Any]:
        """Values, half-widths and forgetting by metric."""
        return {
            "label": self.label,
            "strategy": self.runs[0].strategy,
            "rewards": list(self.rewards),
            "seeds": [run.seed for run in self.runs],
            "metrics": {
                m.name: {
                    "base": self.base(m.name),
                    "final": self.final(m.name).mean,
                    "final_half_width": self.final(m.name).half,
                    "forgetting": self.forgetting(m.name).mean,
                    "forgetting_half_width": self.forgetting(m.name).half,
                }
                for m in self.metrics
            },
        }


def compare(runs: Sequence[RunResult]) -> list[Group]:
    """Group runs by label and order. UsageError when there are none or one is not finished."""
    unfinished = [run.name for run in runs if run.status != "finished"]
    if unfinished or not runs:
        raise UsageError(
            f"not finished: {', '.join(unfinished)}. Run it again to continue." if runs else "no runs given"
        )
    groups: dict[tuple[str, tuple[str, ...]], list[RunResult]] = {}
    for run in runs:
        groups.setdefault((run.label, run.rewards), []).append(run)
    for (label, _), found in groups.items():
        if len({run.seed for run in found}) < len(found):
            names = ", ".join(run.name for run in found)
            raise UsageError(f"{names}: runs of {label} with the same seed differ in settings; compare them apart")
    return [Group(name, r, tuple(sorted(found, key=lambda x: x.seed))) for (name, r), found in sorted(groups.items())]


def terminal(groups: Sequence[Group]) -> Table:
    """One line a group for a terminal."""
    head, *body = _lines(groups)
    table = Table(title="after the last stage: mean ± 95 % interval over seeds (forgetting)")
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < 2 else "right")
    for line in body:
        table.add_row(*line)
    return table


def markdown(groups: Sequence[Group]) -> str:
    """The same in Markdown."""
    head, *body = _lines(groups)
    return markdown_table(head, body)


def _lines(groups: Sequence[Group]) -> list[list[str]]:
    metrics = list({m.name: m for group in groups for m in group.metrics}.values())
    base = {m.name: next(g.base(m.name) for g in groups if g.has(m.name)) for m in metrics}
    lines = [["method", "order", "seeds", *map(header, metrics)]]
    lines.append(["base", "", "", *(number(base[m.name]) for m in metrics)])
    for group in groups:
        cells = [_cell(group, m, base[m.name]) if group.has(m.name) else "" for m in metrics]
        lines.append([group.label, " > ".join(group.rewards), str(len(group.runs)), *cells])
    return lines


def _cell(group: Group, metric: MetricInfo, like: float) -> str:
    final, lost = group.final(metric.name), group.forgetting(metric.name)
    spread = "" if math.isnan(final.half) else f" ±{number(final.half, like)}"
    loss = "-" if math.isnan(lost.mean) else number(lost.mean, like)
    half = "" if math.isnan(lost.half) else f" ±{number(lost.half, like)}"
    return f"{number(final.mean, like)}{spread} ({loss}{half})"
