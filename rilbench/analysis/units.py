"""The units in which gains of different rewards are averaged: a reward's own scale says nothing about another's.

SD        the standard deviation between the base model's prompts: how far apart the reward sees prompts
single    the mean gain of a reference method in a first stage that trained this reward alone: what can be gained
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rilbench.analysis.methods import base_models
from rilbench.contracts.result import RunResult

SD = "SD"
SINGLE = "single gain"
UNITS = (SD, SINGLE)
REFERENCE = "baseline"
Size = tuple[int, str]  # number of the base model, metric


@dataclass(frozen=True, kw_only=True)
class Units:
    """reference: the label whose first stages are the single gains. bases: number of each run's base model by name.

    sds, singles: the size of a unit in the metric's own scale; seeds: how many a single gain is the mean of.
    """

    reference: str
    bases: Mapping[str, int]
    sds: Mapping[Size, float]
    singles: Mapping[Size, float]
    seeds: Mapping[Size, int]

    @classmethod
    def of(
        cls,
        runs: Sequence[RunResult],
        *,
        reference: Sequence[str] = (REFERENCE,),
        seeds: Collection[int] | None = None,
    ) -> Units:
        """Of runs. reference: the first of these labels among the runs, or else the first label. seeds: of the single
        gains, by default all."""
        labels = list(dict.fromkeys(run.label for run in runs))
        name = next((label for label in (*reference, *labels) if label in labels), "")
        bases = base_models(runs)
        gains: dict[Size, dict[int, dict[str, float]]] = {}
        for run in (run for run in runs if run.label == name and (seeds is None or run.seed in seeds)):
            reward = first_reward(run)
            gain = run.matrix.gain(reward, 0, 1) if reward else math.nan
            if not math.isnan(gain):
                gains.setdefault((bases[run.name], reward), {}).setdefault(run.seed, {})[first_stage(run)] = gain
        return cls(
            reference=name,
            bases=bases,
            sds={(bases[run.name], name): sd for run in reversed(runs) for name, sd in run.matrix.rows[0].sds.items()},
            singles={key: fmean(fmean(of.values()) for of in by_seed.values()) for key, by_seed in gains.items()},
            seeds={key: len(by_seed) for key, by_seed in gains.items()},
        )

    def size(self, run: RunResult, unit: str, metric: str) -> float:
        """One unit in the metric's own scale, on the base model of a run; NaN if it is unknown or not positive."""
        size = (self.sds if unit == SD else self.singles).get((self.bases[run.name], metric), math.nan)
        return size if size > 0 else math.nan

    def shown(self, runs: Sequence[RunResult]) -> list[str]:
        """The units that every trained reward has, on one base model of the runs at least."""
        return [unit for unit in UNITS if any(not missing for missing in self._without(unit, runs))]

    def notes(self, runs: Sequence[RunResult]) -> list[str]:
        """Why the other units are not shown."""
        return [self._why(unit, missing) for unit in UNITS if all(missing := self._without(unit, runs))]

    def _without(self, unit: str, runs: Sequence[RunResult]) -> list[list[str]]:
        """For each base model of the runs, the rewards without a size of the unit."""
        rewards: dict[int, dict[str, RunResult]] = {}
        for run in runs:
            for reward in run.matrix.trained_rewards():
                rewards.setdefault(self.bases[run.name], {}).setdefault(reward, run)
        return [[r for r, run in own.items() if math.isnan(self.size(run, unit, r))] for own in rewards.values()]

    def _why(self, unit: str, missing: Sequence[Sequence[str]]) -> str:
        names = next(iter(missing), [])
        listed = ", ".join(names)
        if unit == SD:
            return f"{SD} is not shown: no spread of the base model's scores over prompts is recorded for {listed}"
        if {name for _, name in self.singles}.issuperset(names):
            return f"{SINGLE} is not shown: {self.reference} gained nothing in a first stage on {listed} alone"
        return f"{SINGLE} is not shown: {self.reference} has no first stage on {listed} alone"


def first_reward(run: RunResult) -> str:
    """The reward that the first stage trained alone, from the base; empty if there is none."""
    rows = run.matrix.rows
    alone = len(rows) > 1 and len(rows[1].rewards) == 1
    return rows[1].rewards[0] if alone and rows[1].rewards[0] in {info.name for info in run.matrix.metrics} else ""


def first_stage(run: RunResult) -> str:
    """The same for runs whose first stage is the same model."""
    row = run.matrix.rows[1]
    return f"{row.stage_id} {row.evaluation}" if row.stage_id else run.name
