"""What a strategy must keep to when it trains a stage."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.testing.bench import Bench, gradients, same
from rilbench.testing.check import Check, check, require
from rilbench.testing.common import can_be_made
from rilbench.testing.plans import StrategySubject, only_plans
from rilbench.testing.surroundings import watched

UPDATES, STOP = 3, 2  # of a stage; the update after whose checkpoint it is stopped
STAGES = 4


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
    first, second = (_train(subject) for _ in range(2))
    difference = same(first, second, exact=subject.exact)
    require(difference == 0, f"two trainings of the same stage give factors that differ by up to {difference:.3g}")


@check(the_loss_reaches_the_pair, not_for=only_plans)
def earlier_stages_are_untouched(subject: StrategySubject) -> None:
    """Training a stage changes its own pair only; earlier pairs and the base model stay bit for bit."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    with TemporaryDirectory() as folder:
        first = bench.train(strategy, Path(folder) / "1")
        kept = first.copy()
        bench.group.load_chain([(first, 1.0)])
        before = bench.weights()
        bench.train(strategy, Path(folder) / "2", below=[first])
    after = bench.weights()
    moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
    require(not moved, f"training a stage changes {len(moved)} weights below it, such as {moved[0] if moved else ''}")
    require(same(first, kept, exact=True) == 0, "training a stage changes the pair of an earlier one")


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
    require(not other, f"the state holds {len(other)} values that are no tensors, such as {other[0] if other else ''}")


@check(training_is_deterministic, earlier_stages_are_untouched, not_for=only_plans)
def a_stopped_stage_ends_the_same(subject: StrategySubject) -> None:
    """A stage that is interrupted and resumed by a new process ends like one without interruption."""
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        with suppress(_Stopped):
            Bench.on(subject.device).train(subject.fresh(), checkpoint, updates=UPDATES, on_update=_stop)
        resumed = Bench.on(subject.device).train(subject.fresh(), checkpoint, updates=UPDATES)
    difference = same(resumed, _train(subject), exact=subject.exact)
    require(difference == 0, f"stopped and resumed, the pair differs by up to {difference:.3g}; put more in `state`")


class _Stopped(Exception):
    pass


def _stop(update: int) -> None:
    if update == STOP:  # the checkpoint of the update before is written
        raise _Stopped


def _train(subject: StrategySubject) -> LoraPair:
    """A whole stage."""
    with TemporaryDirectory() as folder:
        return Bench.on(subject.device).train(subject.fresh(), Path(folder) / "checkpoint", updates=UPDATES)


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def a_step_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """Images denoised, decoded and scored in a step, and parameters trained, do not grow with the number of stages."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    pairs: list[LoraPair] = []
    costs = []
    with TemporaryDirectory() as folder:
        for index in range(STAGES):
            with bench.counting() as counts:
                pairs.append(bench.train(strategy, Path(folder) / str(index), below=pairs))
            costs.append(counts | {"trained": bench.trained()})
    for what in costs[0] | costs[-1]:
        first, last = costs[0][what], costs[-1][what]
        require(last <= first, f"a step has {what} {first} at stage 1 and {last} at stage {STAGES}")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def global_state_is_left_alone(subject: StrategySubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    strategy.loss(bench.step(strategy))  # a first call may import and warm up
    step = bench.step(strategy)
    with watched() as found:
        strategy.loss(step)
        strategy.after_update(step)
    require(not found, f"a step changes {', '.join(found)}")


CHECKS: tuple[Check, ...] = (
    the_loss_is_a_finite_scalar,
    the_loss_reaches_the_pair,
    training_is_deterministic,
    earlier_stages_are_untouched,
    the_state_holds_tensors_only,
    a_stopped_stage_ends_the_same,
    a_step_costs_the_same_at_every_stage,
    global_state_is_left_alone,
)
