"""`rilbench.plot`: figures of finished runs, for a notebook or a page. Methods are distinguished as in `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rilbench.analysis import figures
from rilbench.analysis.methods import told_apart
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.table import long_table, quantity_table
from rilbench.analysis.units import SD, UNITS, Units
from rilbench.contracts.errors import UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd
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


def learned_forgotten(runs: Sequence[Run], unit: str = SD) -> Figure:
    """Learned against forgotten, means over the trained rewards in a unit; up and left is better.

    unit: `SD`, standard deviations between the base model's prompts, or `single gain`, gains of the baseline (or the
    first method without it) in a first stage on the reward alone. Raises UsageError for a unit that the runs lack.
    """
    found = _units_of(runs, (Quantity.AVERAGE_LEARNED, Quantity.AVERAGE_FORGOTTEN), unit)
    return figures.learned_forgotten(found, unit)


def gain_drift(runs: Sequence[Run], metric: str = SD) -> Figure:
    """The gain of a reward from the base to the last stage against drift (1 - structure); up and left is better.

    metric: a trained reward, or a unit as in `learned_forgotten` for the mean over the rewards. Raises UsageError for a
    unit or reward that the runs lack, and if they did not measure `structure`.
    """
    if metric in UNITS:
        found = _units_of(runs, (Quantity.FINAL, Quantity.AVERAGE), metric)
    else:
        found = quantity_table(_told_apart(runs), (Quantity.FINAL, Quantity.LEFT))
        rewards = set(found.loc[found["quantity"] == Quantity.LEFT.value, "metric"])
        if metric not in rewards:
            raise UsageError(unknown("reward of these runs", metric, rewards))
    if figures.DRIFT not in set(found["metric"]):
        raise UsageError(f"no run measured {figures.DRIFT}; add it to evaluate.metrics")
    return figures.gain_drift(found, metric)


def heat_map(runs: Sequence[Run]) -> Figure:
    """Forgetting: methods x metrics, means over seeds; colours compare within a metric."""
    return figures.heat_map(quantity_table(_told_apart(runs), (Quantity.FORGETTING,)))


def _units_of(runs: Sequence[Run], quantities: Sequence[Quantity], unit: str) -> pd.DataFrame:
    """Their quantity table, which must have the unit."""
    results = _told_apart(runs)
    units = Units.of(results)
    if unit not in units.shown(results):
        reasons = [note for note in units.notes(results) if note.startswith(unit)]
        raise UsageError(reasons[0] if reasons else unknown("unit", unit, set(UNITS)))
    return quantity_table(results, quantities, units=units)


def _told_apart(runs: Sequence[Run]) -> list[RunResult]:
    return told_apart([run.result for run in runs])
