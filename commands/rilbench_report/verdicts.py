"""Whether strategies differ: paired over the orders and seeds that both have, each strategy against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.analysis.pairs import independent_pairs, mean_differences
from rilbench.analysis.statistics import ALPHA, Spread, holm, paired_p
from rilbench_report.measures import Measure
from rilbench_report.study import Study


@dataclass(frozen=True)
class Verdict:
    """A strategy minus the reference. spread: of the paired differences, `spread.n` of them; p: of Student's paired t
    test that their mean is 0, after Holm's correction over the `tests` strategies compared."""

    spread: Spread
    p: float
    tests: int

    @property
    def significant(self) -> bool:
        """Not for NaN."""
        return self.p < ALPHA


def verdicts(study: Study, measure: Measure, strategies: Sequence[str]) -> dict[str, Verdict]:
    """Of all these strategies that share a base model and at least two orders and seeds with the reference."""
    base = study.base_of(study.reference)
    others = [s for s in strategies if s != study.reference and study.base_of(s) == base]
    samples = {s: paired(study, s, study.reference, measure) for s in others}
    spreads = {s: spread for s, sample in samples.items() if (spread := Spread.of(sample)).n > 1}
    p = holm({s: paired_p(samples[s]) for s in spreads})
    return {s: Verdict(spread, p[s], len(spreads)) for s, spread in spreads.items()}


def paired(study: Study, one: str, two: str, measure: Measure) -> list[float]:
    """The differences of a number between runs of the same order and seed, those that share a model averaged."""
    return mean_differences(independent_pairs([run.result for run in study.runs], one, two), measure)
