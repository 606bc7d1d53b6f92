"""An update whose batch is cut into parts, as `train.micro_batch` does it, against the same one in one go."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rilbench.model.randomness import generator_for
from rilbench.testing.bench import Bench, training_config
from rilbench.testing.check import check, require
from rilbench.testing.plans import StrategySubject, only_plans
from rilbench.testing.training import the_loss_reaches_the_pair, training_is_deterministic

BATCH, PART, UPDATES = 3, 2, 2  # parts of two images and of one
TOLERANCE = 0.01  # share of the gradient's norm; rounding is at 1e-5


@check(the_loss_reaches_the_pair, training_is_deterministic, not_for=only_plans)
def parts_of_a_batch_add_up(subject: StrategySubject) -> None:
    """The parts of a batch add up to the gradient of the whole: `loss` is a mean over images and changes no state."""
    whole, cut = _gradients(subject, part=0), _gradients(subject, part=PART)
    for update, (expected, found) in enumerate(zip(whole, cut, strict=True), start=1):
        error = float((found - expected).norm() / expected.norm())
        where = f"in parts, the gradient of update {update} differs by {error:.1%}"
        require(error <= TOLERANCE, f"{where}; `loss` runs once a part, `combine` and `after_update` once an update")


def _gradients(subject: StrategySubject, *, part: int) -> list[Tensor]:
    """The gradient (P,) of each update, the pair moved by the same random step after each."""
    strategy, bench = subject.fresh(), Bench.on(subject.device)
    pair = bench.step(strategy).pair
    config = training_config(UPDATES, batch=BATCH, micro_batch=part)
    trainer = bench.training(strategy, config, checkpoint=Path())  # of which there is none
    optimiser, generator, gradients = torch.optim.SGD(pair.factors, lr=0.0), generator_for("parts"), list[Tensor]()
    for update in range(UPDATES):
        trainer.update(update, pair, optimiser)
        gradients.append(torch.cat([f.grad.flatten() for f in pair.factors if f.grad is not None]))
        with torch.no_grad():
            for factor in pair.factors:
                factor.add_(0.1 * torch.randn(factor.shape, generator=generator).to(factor))
    return gradients
