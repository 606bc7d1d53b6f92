"""What a strategy must keep to when it trains a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.testing.bench import Bench, difference, gradients
from rilbench.testing.check import check, require, require_none
from rilbench.testing.common import can_be_made
from rilbench.testing.plans import StrategySubject, only_plans, stages_are_well_formed
from rilbench.testing.surroundings import require_untouched

UPDATES, STOP = 3, 2  # of a stage; the update after whose checkpoint it is stopped
NAMES = ("first", "second", "third", "fourth")  # of rewards, each of a stage


@check(can_be_made, not_for=only_plans)
def the_loss_is_a_finite_scalar(subject: StrategySubject) -> None:
    """`loss` returns one finite number as a tensor."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    loss = strategy.loss(bench.step(strategy))
    require(isinstance(loss, Tensor), f"the loss is of type {type(loss).__name__}, no tensor")
    require(loss.ndim == 0, f"the loss has shape {tuple(loss.shape)}, it is no scalar")
    require(bool(loss.isfinite()), f"the loss is {float(loss)}")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def the_loss_reaches_the_pair(subject: StrategySubject) -> None:
    """The gradient of the loss with respect to the pair in training is finite and not zero."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    step = bench.step(strategy)
    loss = strategy.loss(step)
    require(loss.requires_grad, "the loss has no gradient; keep `step.denoise` and `step.decode` out of no_grad")
    gradient = gradients(loss, step.pair)
    require(bool(gradient.isfinite().all()), "the gradient of the loss is not finite")
    require(bool(gradient.any()), "the gradient of the loss with respect to the pair in training is zero")


@check(the_loss_reaches_the_pair, not_for=only_plans)
def training_is_deterministic(subject: StrategySubject) -> None:
    """Training a stage twice gives the same pair, so that a run can be reproduced."""
    apart = difference(_train(subject), _train(subject), exact=subject.exact)
    require(apart == 0, f"two trainings of the same stage give factors that differ by up to {apart:.3g}")


@check(the_loss_reaches_the_pair, not_for=only_plans)
def earlier_stages_are_untouched(subject: StrategySubject) -> None:
    """Training a stage changes its own pair only; earlier pairs and the base model stay bit for bit."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    first = bench.train(strategy)
    kept = first.copy()
    bench.group.load_chain([(first, 1.0)])
    before = bench.weights()
    bench.train(strategy, below=[first])
    after = bench.weights()
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    require_none(moved, "training a stage changes {} weights below it")
    require(difference(first, kept, exact=True) == 0, "training a stage changes the pair of an earlier one")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def the_state_holds_tensors_only(subject: StrategySubject) -> None:
    """`state` is a dictionary of tensors, so that checkpoints are read without running pickled code."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    step = bench.step(strategy)
    strategy.loss(step)
    strategy.after_update(step)
    state = strategy.state()
    require(isinstance(state, dict), f"the state is a {type(state).__name__}, no dictionary")
    other = [f"{key!r} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    require_none(other, "the state holds {} values that are no tensors")


@check(training_is_deterministic, earlier_stages_are_untouched, not_for=only_plans)
def a_stopped_stage_ends_the_same(subject: StrategySubject) -> None:
    """A stage that is interrupted and resumed by a new process ends like one without interruption."""
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        with suppress(_Stopped):
            _train(subject, checkpoint=checkpoint, on_update=_stop)
        resumed = _train(subject, checkpoint=checkpoint)
    apart = difference(resumed, _train(subject), exact=subject.exact)
    require(apart == 0, f"stopped and resumed, the pair differs by up to {apart:.3g}; put more in `state`")


class _Stopped(Exception):
    pass


def _stop(update: int, total: int, values: dict[str, float]) -> None:
    if update == STOP:  # the checkpoint of the update before is written
        raise _Stopped


def _train(subject: StrategySubject, **options: Any) -> LoraPair:
    """A whole stage."""
    return Bench.on(subject.device).train(subject.fresh(), updates=UPDATES, **options)


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def a_step_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """Images denoised, decoded and scored in a step, and parameters trained, do not grow with the number of stages."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    pairs, costs = list[LoraPair](), list[Counter[str]]()
    for _ in NAMES:
        pair, cost = bench.cost(strategy, pairs)
        pairs, costs = [*pairs, pair], [*costs, cost]
    require_level(costs)


def require_level(costs: Sequence[Counter[str]], where: str = "") -> None:
    """Fault if a stage has more of anything than the first."""
    for stage, cost in enumerate(costs, start=1):
        for what, amount in sorted(cost.items()):
            first = costs[0][what]
            require(amount <= first, f"{where}a step has {what} {first} at stage 1 and {amount} at stage {stage}")


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


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def global_state_is_left_alone(subject: StrategySubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)

    def take_step() -> None:
        step = bench.step(strategy)
        strategy.loss(step)
        strategy.after_update(step)

    require_untouched(subject, take_step, "a step")
