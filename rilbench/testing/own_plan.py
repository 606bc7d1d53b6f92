"""The stages a strategy plans itself, trained one after the other as a run trains them: what each costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage
from rilbench.testing.bench import Bench
from rilbench.testing.check import Check, check, require
from rilbench.testing.plans import StrategySubject, only_plans, stages_are_well_formed
from rilbench.testing.training import a_step_costs_the_same_at_every_stage

NAMES = ("first", "second", "third", "fourth")  # of rewards


@check(a_step_costs_the_same_at_every_stage, stages_are_well_formed, not_for=only_plans)
def its_own_plan_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """The same for the stages it plans, with their rewards and the tensors they hand to the next stage."""
    costs = _costs(subject)
    for what in sorted(set().union(*costs)):
        for stage, cost in enumerate(costs, start=1):
            told = f"in its plan of {len(NAMES)} rewards a step has {what} {costs[0][what]} at stage 1"
            require(cost[what] <= costs[0][what], f"{told} and {cost[what]} at stage {stage}")


def _costs(subject: StrategySubject) -> list[Counter[str]]:
    """Of each stage of its plan for four rewards that it trains itself."""
    bench, below, carry = Bench.on(subject.device), list[LoraPair](), dict[str, Tensor]()
    costs = []
    plan = [stage for stage in subject.fresh().plan(list(NAMES)) if stage.rewards and stage.by is None]
    with TemporaryDirectory() as folder:
        for index, stage in enumerate(plan, start=1):
            below, initial = _start(stage, below)
            strategy = subject.fresh()  # a stage gets nothing of the one before but its carry
            with bench.counting() as counts:
                pair = bench.train(
                    strategy, Path(folder) / str(index), below=below, stage=stage, initial=initial, carry=carry
                )
            below, carry = [*below, pair], strategy.carry()
            kept = sum(value.numel() for value in carry.values())
            costs.append(Counter(counts | {"trained": bench.trained(), "left to the next stage": kept}))
    return costs


def _start(stage: Stage, below: list[LoraPair]) -> tuple[list[LoraPair], LoraPair | None]:
    """The frozen pairs a stage is trained on, and the one it goes on with."""
    if stage.start == "base":
        return [], None
    return (below[:-1], below[-1]) if stage.start == "continue" and below else (below, None)


CHECKS: tuple[Check, ...] = (its_own_plan_costs_the_same_at_every_stage,)
