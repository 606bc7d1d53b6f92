"""The stages a strategy plans itself, trained one after the other as a run trains them: what each costs."""

from __future__ import annotations

from collections import Counter

from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.testing.bench import Bench
from rilbench.testing.check import check
from rilbench.testing.plans import StrategySubject, only_plans, stages_are_well_formed
from rilbench.testing.training import a_step_costs_the_same_at_every_stage, require_level

NAMES = ("first", "second", "third", "fourth")  # of rewards


@check(a_step_costs_the_same_at_every_stage, stages_are_well_formed, not_for=only_plans)
def its_own_plan_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """The same for the stages it plans, with their rewards and the tensors they hand to the next stage."""
    bench, below, carry, costs = Bench.on(subject.device), list[LoraPair](), dict[str, Tensor](), list[Counter[str]]()
    for stage in subject.fresh().plan(list(NAMES)):
        if not stage.rewards or stage.by is not None:
            continue
        continues = stage.start == "continue" and bool(below)
        below, initial = (below[:-1], below[-1]) if continues else ([] if stage.start == "base" else below, None)
        strategy = subject.fresh()  # a stage gets nothing of the one before but its carry
        pair, cost = bench.cost(strategy, below, stage=stage, initial=initial, carry=carry)
        below, carry = [*below, pair], strategy.carry()
        kept = sum(value.numel() for value in carry.values())
        costs.append(cost + Counter({"left to the next stage": kept}))
    require_level(costs, f"in its plan of {len(NAMES)} rewards ")
