"""The runs by strategy and order, and the numbers of a run that the report averages."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rilbench.compare.groups import model_of
from rilbench.compare.statistics import Spread
from rilbench.report.html.runs import Run
from rilbench.result import MetricInfo

Measure = Callable[[Run], float]


@dataclass(frozen=True)
class Study:
    """The runs of a report, or of one order of it."""

    runs: tuple[Run, ...]

    @cached_property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(run.label for run in self.runs))

    @cached_property
    def orders(self) -> list[str]:
        return sorted({run.order for run in self.runs})

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({run.result.seed for run in self.runs})

    @cached_property
    def metrics(self) -> list[MetricInfo]:
        """The columns of all runs, each once, without those of disturbed pictures."""
        infos = {info.name: info for run in self.runs for info in run.matrix.metrics}
        return [info for name, info in infos.items() if "@" not in name]

    @cached_property
    def disturbed(self) -> list[str]:
        """The columns `REWARD@DISTURBANCE`: scores of rewards that some run trained, of disturbed pictures."""
        names = dict.fromkeys(info.name for run in self.runs for info in run.matrix.metrics)
        return [name for name in names if "@" in name and name.partition("@")[0] in self.rewards]

    @cached_property
    def rewards(self) -> list[str]:
        """The rewards any run trained, in the order of the first run."""
        return list(dict.fromkeys(name for run in self.runs for name in run.result.rewards))

    def of(self, strategy: str) -> list[Run]:
        return [run for run in self.runs if run.label == strategy]

    def models(self, strategy: str) -> list[Run]:
        """A strategy's runs without those that are the same model as another, as of `joint` in every order."""
        return list({model_of(run.result): run for run in reversed(self.of(strategy))}.values())[::-1]

    def ordered(self, order: str) -> Study:
        """The runs of one order."""
        return Study(tuple(run for run in self.runs if run.order == order))

    def spread(self, strategy: str, measure: Measure) -> Spread:
        """Mean and 95 % interval of a number over a strategy's models; runs where it is NaN are left out."""
        return Spread.of([measure(run) for run in self.models(strategy)])

    def base(self, metric: str) -> float:
        """The untouched model's value, mean over runs."""
        return mean([value(run, metric, 0) for run in self.runs])


def mean(values: Sequence[float]) -> float:
    """The mean of what is known; NaN when nothing is."""
    known = [v for v in values if not math.isnan(v)]
    return statistics.fmean(known) if known else math.nan


def value(run: Run, metric: str, stage: int = -1) -> float:
    """A metric after a stage; NaN where not measured."""
    return run.matrix.values(metric)[stage]


def change(run: Run, metric: str) -> float:
    """From base to the last stage."""
    return value(run, metric) - value(run, metric, 0)


def forgetting(run: Run, metric: str) -> float:
    """F of Eq. 3 at the end; NaN where a table masks it, or the run has no such metric."""
    last = len(run.matrix.rows) - 1
    known = any(info.name == metric for info in run.matrix.metrics)
    return run.matrix.forgetting(metric) if known and not run.matrix.masked(metric, last) else math.nan


def relative(run: Run, metric: str, amount: float) -> float:
    """An amount as a share of the metric's base value; NaN when that is 0."""
    base = abs(value(run, metric, 0))
    return amount / base if base else math.nan


def average(run: Run) -> float:
    """Mean relative change of the trained rewards, base to last stage."""
    return run.matrix.average()


def learned(run: Run) -> float:
    """Mean relative gain of each trained reward in the stage that trained it."""
    return mean([relative(run, name, run.matrix.learned(name)) for name in run.matrix.trained_rewards()])


def forgotten(run: Run) -> float:
    """Mean relative forgetting of the trained rewards: Eq. 3 for all of them, also the one trained last."""
    return mean([relative(run, name, run.matrix.forgetting(name)) for name in run.matrix.trained_rewards()])
