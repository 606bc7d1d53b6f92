"""Checks of a strategy's plan."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rilbench.contracts.strategy import Stage, Strategy
from rilbench.testing.check import Subject, check, require
from rilbench.testing.common import can_be_made

StrategySubject: TypeAlias = Subject[Strategy]
SEQUENCES = (("first",), ("first", "second"), ("first", "second", "third"))  # names of rewards


def only_plans(subject: StrategySubject) -> str | None:
    """Why the checks of training do not apply to a strategy whose stages are trained by others."""
    trains_none = subject.component.loss is Strategy.loss
    return "it plans for other strategies and trains none itself" if trains_none else None


def _plans(subject: StrategySubject) -> Iterator[tuple[Sequence[str], list[Stage]]]:
    return ((names, subject.instance.plan(list(names))) for names in SEQUENCES)


@check(can_be_made)
def a_plan_is_a_list_of_stages(subject: StrategySubject) -> None:
    """`plan` returns a list of Stage for one reward and for three."""
    for names, plan in _plans(subject):
        stages = isinstance(plan, list) and all(isinstance(stage, Stage) for stage in plan)
        require(stages and bool(plan), f"the plan of {len(names)} rewards is {plan!r}, not a list of stages")


@check(a_plan_is_a_list_of_stages)
def every_reward_is_planned(subject: StrategySubject) -> None:
    """Each reward of the sequence is trained in some stage; a run refuses other plans."""
    for names, plan in _plans(subject):
        missing = set(names).difference(*(stage.rewards for stage in plan))
        require(not missing, f"of {len(names)} rewards {len(missing)} are in no stage: {', '.join(sorted(missing))}")


@check(a_plan_is_a_list_of_stages)
def stages_are_well_formed(subject: StrategySubject) -> None:
    """A stage trains on rewards of the sequence, or merges earlier stages, with finite weights, and has a trainer."""
    for names, plan in _plans(subject):
        for i, stage in enumerate(plan):
            fault = _fault(stage, i, names, subject.component)
            require(not fault, f"stage {i} of the plan of {len(names)} rewards {fault}")


def _fault(stage: Stage, position: int, names: Sequence[str], component: type[Strategy]) -> str:
    """What is wrong with a stage; empty if it is well formed."""
    unplanned = [str(name) for name in stage.rewards if name not in names]
    later = [str(i) for i in stage.merge if not (isinstance(i, int) and 0 <= i < position)]
    weights = [*stage.rewards.values(), *stage.merge.values()]
    if bool(stage.rewards) == bool(stage.merge):
        return "has both rewards and a merge" if stage.rewards else "has neither rewards nor a merge"
    if unplanned:
        return f"trains on {', '.join(unplanned)}, which is not in the sequence"
    if later:
        return f"merges stage {', '.join(later)}, which does not come before it"
    if not all(isinstance(weight, int | float) and math.isfinite(weight) for weight in weights):
        return f"has the weights {weights}, not all of them finite numbers"
    if stage.start not in ("previous", "base", "continue"):
        return f"starts from {stage.start!r}, not from previous, base or continue"
    if stage.rewards and stage.by is None and component.loss is Strategy.loss:
        return "does not name a strategy to train it (by), and this one has no loss"
    return ""


@check(stages_are_well_formed)
def planning_twice_gives_the_same(subject: StrategySubject) -> None:
    """A plan depends on settings and rewards only; every run plans again and looks its stages up in the store."""
    for names, plan in _plans(subject):
        n = len(names)
        require(plan == subject.instance.plan(list(names)), f"planning {n} rewards twice gives two plans")
        fault = f"two instances of the same settings plan {n} rewards differently"
        require(plan == subject.fresh().plan(list(names)), fault)
