"""`rilbench.compare`: what every method reaches, and whether methods differ, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rilbench.analysis.quantities import Quantity
from rilbench.contracts.errors import UsageError, unknown
from rilbench.engine.progress import Reporter

if TYPE_CHECKING:
    import pandas as pd

    from rilbench.api.stages import Run

TEST = ["quantity", "label", "metric"]
REACHED = [*TEST, "n", "mean", "sd", "low", "high", "best", "rank"]
DIFFERENCE = {"mean": "difference", "low": "difference_low", "high": "difference_high"}
TESTED = ["against", "matched", *DIFFERENCE.values(), "p", "p_holm", "significant", "seeds_needed", "untested"]


def compare(
    runs: Sequence[Run],
    *,
    against: str | None = None,
    quantities: Sequence[str] = ("final", "forgetting"),
    strategies: Sequence[str] | None = None,
    rewards: Sequence[str] | None = None,
    single_gain_of: str | None = None,
) -> pd.DataFrame:
    """A row for each quantity, method and metric, with the numbers of `rilbench compare`.

    against: the method the others are tested against; default: rid, or the first when there is no rid. quantities:
    those of `rilbench compare --quantity`; an average over rewards comes with its quantity of single rewards, and its
    metric is a unit, `SD` or `single gain`. strategies: compare these only, in this order. rewards: compare runs of
    this order only. single_gain_of: the method of the single gains; default: baseline, or `against` without it. Methods
    of one name that differ in settings are told apart by these.

    Columns: `n` seeds and their mean, sd and 95 % interval `low`, `high`; `best`: the best comparable mean; `rank`:
    among these, 1 is the best, equal means share the mean of their ranks, and an average has the mean of the ranks in
    its rewards; then the difference to `against` over `matched` runs of the same order and seed, its interval over
    seeds, `p` of the paired test, `p_holm`, corrected over all methods and metrics of a quantity, `seeds_needed` to
    find this difference, and why there is no p (`untested`). They are NaN for `against` itself.

    Raises UsageError for an unknown quantity, and for a strategy or an order that none of the runs has.
    """
    from rilbench.analysis import comparison

    found = comparison.compare(
        [run.result for run in runs],
        quantities=[_quantity(name) for name in quantities],
        against=against,
        strategies=strategies,
        rewards=rewards,
        single_gain_of=single_gain_of,
        warn=Reporter().warn,
    )
    tests = found.differences.rename(columns=DIFFERENCE)
    return found.means[REACHED].merge(tests[[*TEST, *TESTED]], on=TEST, how="left")


def _quantity(name: str) -> Quantity:
    if name not in list(Quantity):
        raise UsageError(unknown("quantity", name, list(Quantity)))
    return Quantity(name)
