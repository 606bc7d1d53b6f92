"""`rilbench.plot`: figures of finished runs, for a notebook or a page. Methods are distinguished as in `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rilbench.analysis import figures
from rilbench.analysis.methods import told_apart
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.table import long_table, quantity_table
from rilbench.contracts.errors import UsageError, unknown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from rilbench.api.stages import Run
    from rilbench.contracts.result import RunResult


def stage_curves(runs: Sequence[Run], metric: str) -> Figure:
    """A metric over the stages: a line for each method, the mean over its models, with the 95 % interval.

    Raises UsageError for a metric that no run has.
    """
    table = long_table(_told_apart(runs))
    if metric not in set(table["metric"]):
        raise UsageError(unknown("metric of these runs", metric, set(table["metric"])))
    return figures.stage_curves(table, metric)


def gain_drift(runs: Sequence[Run]) -> Figure:
    """Learned against forgotten, means over the trained rewards in per cent of base values; up and left is better."""
    averages = (Quantity.AVERAGE_LEARNED, Quantity.AVERAGE_FORGOTTEN)
    return figures.gain_drift(quantity_table(_told_apart(runs), averages))


def heat_map(runs: Sequence[Run]) -> Figure:
    """Forgetting in per cent of the base value: methods x metrics, means over models."""
    return figures.heat_map(quantity_table(_told_apart(runs), (Quantity.FORGETTING,)))


def _told_apart(runs: Sequence[Run]) -> list[RunResult]:
    return told_apart([run.result for run in runs])
