"""The runs of a report by strategy and order, and which strategies can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rilbench.analysis.groups import model_of
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import MetricInfo
from rilbench_report.measures import Measure, is_sequence, mean, value
from rilbench_report.runs import Base, Run

REFERENCE = "rid"  # the others are compared with it, or with the first strategy


@dataclass(frozen=True)
class Study:
    """The runs of a report, or of one order of it. `bases`: the base models, the one of most runs first."""

    runs: tuple[Run, ...]
    bases: tuple[Base, ...]

    @classmethod
    def about(cls, runs: Sequence[Run]) -> Study:
        """A model that was measured alone, a run of one row, is nobody's base."""
        bases = Counter(run.base for run in runs if len(run.matrix.rows) > 1)
        return cls(tuple(runs), tuple(base for base, _ in bases.most_common()))

    @cached_property
    def strategies(self) -> list[str]:
        return list(dict.fromkeys(run.label for run in self.runs))

    @property
    def reference(self) -> str:
        return REFERENCE if REFERENCE in self.strategies else self.strategies[0]

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
        return Study(tuple(run for run in self.runs if run.order == order), self.bases)

    def cases(self, strategy: str) -> set[tuple[str, int]]:
        """The orders and seeds a strategy has."""
        return {(run.order, run.result.seed) for run in self.of(strategy)}

    def base_of(self, strategy: str) -> Base:
        return self.of(strategy)[0].base

    def mark(self, strategy: str) -> str:
        """What a strategy measured on another base model is marked with: †, †† for a third one."""
        base = self.base_of(strategy)
        return "†" * self.bases.index(base) if base in self.bases else ""

    def comparable(self) -> list[str]:
        """The strategies that can be ranked, at least two: on the reference's base model, with all its orders and
        seeds and no other, two at least."""
        cases, base = self.cases(self.reference), self.base_of(self.reference)
        same = [s for s in self.strategies if self.cases(s) == cases and self.base_of(s) == base]
        return same if len(cases) > 1 and len(same) > 1 else []

    def sequences(self) -> list[str]:
        """The strategies that train one stage after another: only these can be ranked by what they forget."""
        return [s for s in self.strategies if all(map(is_sequence, self.of(s)))]

    def spread(self, strategy: str, measure: Measure) -> Spread:
        """Mean and 95 % interval of a number over a strategy's models; runs where it is NaN are left out."""
        return Spread.of([measure(run) for run in self.models(strategy)])

    def base(self, metric: str, base: Base | None = None) -> float:
        """The untouched model's value, mean over runs on a base model, the first when none is named."""
        chosen = base or next(iter(self.bases), None)
        runs = [run for run in self.runs if run.base == chosen and len(run.matrix.rows) > 1]
        return mean([value(run, metric, 0) for run in runs])
