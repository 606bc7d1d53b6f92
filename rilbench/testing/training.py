"""Checks of a strategy that trains a stage."""

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
from rilbench.model.randomness import generator_for
from rilbench.testing.bench import Bench, training_config
from rilbench.testing.check import check, require, require_none
from rilbench.testing.common import can_be_made
from rilbench.testing.plans import StrategySubject, only_plans, stages_are_well_formed
from rilbench.testing.surroundings import require_untouched

UPDATES, STOP = 3, 2  # of a stage; the update after whose checkpoint it is stopped
NAMES = ("first", "second", "third", "fourth")  # of rewards, each of a stage
BATCH, PART = 3, 2  # of which a part has two images and one has one
TOLERANCE = 0.01  # share of the norm of a gradient added up from parts; rounding is at 1e-5


@check(can_be_made, not_for=only_plans)
def the_loss_is_a_finite_scalar(subject: StrategySubject) -> None:
    """`loss` returns one finite number as a tensor."""
    bench = Bench(subject)
    loss = bench.strategy.loss(bench.step())
    require(isinstance(loss, Tensor), f"the loss is of type {type(loss).__name__}, not a tensor")
    require(loss.ndim == 0, f"the loss has shape {tuple(loss.shape)}, it must be a scalar")
    require(bool(loss.isfinite()), f"the loss is {float(loss)}")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def the_loss_reaches_the_pair(subject: StrategySubject) -> None:
    """The gradient of the loss with respect to the pair in training is finite and not zero."""
    bench = Bench(subject)
    step = bench.step()
    loss = bench.strategy.loss(step)
    require(loss.requires_grad, "the loss has no gradient; keep `step.denoise` and `step.decode` out of no_grad")
    found = torch.autograd.grad(loss, step.pair.factors, allow_unused=True, materialize_grads=True)
    require(all(bool(g.isfinite().all()) for g in found), "the gradient of the loss is not finite")
    require(any(map(torch.any, found)), "the gradient of the loss with respect to the pair in training is zero")


@check(the_loss_reaches_the_pair, not_for=only_plans)
def training_is_deterministic(subject: StrategySubject) -> None:
    """Training a stage twice gives the same pair, so that a run can be reproduced."""
    _require_equal(subject, _train(subject), "two trainings of the same stage give factors that differ by up to {}")


@check(the_loss_reaches_the_pair, not_for=only_plans)
def earlier_stages_are_untouched(subject: StrategySubject) -> None:
    """Training a stage changes its own pair only; earlier pairs and the base model keep every bit."""
    bench = Bench(subject)
    first = bench.train()
    kept = first.copy()
    bench.group.load_chain([(first, 1.0)])
    before = bench.weights()
    bench.train([first])
    after = bench.weights()
    require_none(
        [name for name, value in before.items() if not torch.equal(value, after[name])],
        "training a stage changes {} weights below it",
    )
    same = all(map(torch.equal, first.factors, kept.factors))
    require(same, "training a stage changes the pair of an earlier one")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def the_state_holds_tensors_only(subject: StrategySubject) -> None:
    """`state` is a dictionary of tensors, so that checkpoints are read without running pickled code."""
    bench = Bench(subject)
    _take_step(bench)
    state = bench.strategy.state()
    require(isinstance(state, dict), f"the state is a {type(state).__name__}, not a dictionary")
    other = [f"{key!r} ({type(value).__name__})" for key, value in state.items() if not isinstance(value, Tensor)]
    require_none(other, "the state has {} values that are not tensors")


@check(training_is_deterministic, earlier_stages_are_untouched, not_for=only_plans)
def a_stopped_stage_ends_the_same(subject: StrategySubject) -> None:
    """A stage that is interrupted and resumed by a new process has the same pair as without interruption."""
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        with suppress(_Stopped):
            _train(subject, checkpoint=checkpoint, on_update=_stop)
        resumed = _train(subject, checkpoint=checkpoint)
    _require_equal(
        subject,
        resumed,
        "stopped and resumed, the pair differs by up to {}; return all that training changes from `state`",
    )


class _Stopped(Exception):
    pass


def _stop(update: int, total: int, values: dict[str, float]) -> None:
    if update == STOP:  # the checkpoint of the update before is written
        raise _Stopped


def _train(subject: StrategySubject, **options: Any) -> LoraPair:
    """A whole stage."""
    return Bench(subject).train(updates=UPDATES, **options)


def _require_equal(subject: StrategySubject, found: LoraPair, fault: str) -> None:
    """Fault if a pair is not that of a whole stage, on a device that is not exact to rounding."""
    pairs = zip(found.factors, _train(subject).factors, strict=True)
    largest = max(float((a - b).abs().max()) for a, b in pairs)
    require(largest <= (0 if subject.exact else 1e-5), fault.format(f"{largest:.3g}"))


def _take_step(bench: Bench) -> None:
    step = bench.step()
    bench.strategy.loss(step)
    bench.strategy.after_update(step)


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def a_step_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """Images denoised, decoded and scored in a step, and parameters trained, do not grow with the number of stages."""
    bench, pairs, costs = Bench(subject), list[LoraPair](), list[Counter[str]]()
    for _ in NAMES:
        pair, cost = bench.cost(pairs)
        pairs, costs = [*pairs, pair], [*costs, cost]
    _require_level(costs)


def _require_level(costs: Sequence[Counter[str]], where: str = "") -> None:
    """Fault if a stage has more of anything than the first."""
    for stage, cost in enumerate(costs, start=1):
        for what, amount in sorted(cost.items()):
            first = costs[0][what]
            require(amount <= first, f"{where}a step has {what} {first} at stage 1 and {amount} at stage {stage}")


@check(a_step_costs_the_same_at_every_stage, stages_are_well_formed, not_for=only_plans)
def its_own_plan_costs_the_same_at_every_stage(subject: StrategySubject) -> None:
    """A step costs the same over the stages of its own plan, with the tensors that they pass to the next stage."""
    bench, below, carry, costs = Bench(subject), list[LoraPair](), dict[str, Tensor](), list[Counter[str]]()
    for stage in bench.strategy.plan(list(NAMES)):
        if not stage.rewards or stage.by is not None:
            continue
        continues = stage.start == "continue" and bool(below)
        below, initial = (below[:-1], below[-1]) if continues else ([] if stage.start == "base" else below, None)
        bench.strategy = subject.fresh()  # a stage gets only the carry of the previous one
        pair, cost = bench.cost(below, stage=stage, initial=initial, carry=carry)
        below, carry = [*below, pair], bench.strategy.carry()
        kept = sum(value.numel() for value in carry.values())
        costs.append(cost + Counter({"left to the next stage": kept}))
    _require_level(costs, f"in its plan of {len(NAMES)} rewards ")


@check(the_loss_is_a_finite_scalar, not_for=only_plans)
def global_state_is_left_alone(subject: StrategySubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    bench = Bench(subject)
    require_untouched(subject, lambda: _take_step(bench), "a step")


@check(the_loss_reaches_the_pair, training_is_deterministic, not_for=only_plans)
def parts_of_a_batch_add_up(subject: StrategySubject) -> None:
    """The parts of a batch add up to the gradient of the whole: `loss` is a mean over images and changes no state."""
    whole, cut = (_gradients(subject, micro_batch=part) for part in (0, PART))
    for update, (expected, found) in enumerate(zip(whole, cut, strict=True), start=1):
        error = float((found - expected).norm() / expected.norm())
        where = f"in parts, the gradient of update {update} differs by {error:.1%}"
        require(error <= TOLERANCE, f"{where}; `loss` runs once per part, `combine` and `after_update` once per update")


def _gradients(subject: StrategySubject, *, micro_batch: int) -> list[Tensor]:
    """The gradient (P,) of each of two updates, the pair moved by the same random step after each."""
    bench = Bench(subject)
    pair = bench.step().pair
    trainer = bench.training(training_config(2, batch=BATCH, micro_batch=micro_batch))
    optimiser, generator, gradients = torch.optim.SGD(pair.factors, lr=0.0), generator_for("parts"), list[Tensor]()
    for update in range(2):
        trainer.update(update, pair, optimiser)
        gradients.append(torch.cat([f.grad.flatten() for f in pair.factors if f.grad is not None]))
        with torch.no_grad():
            for factor in pair.factors:
                factor.add_(0.1 * torch.randn(factor.shape, generator=generator).to(factor))
    return gradients
