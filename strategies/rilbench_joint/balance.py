"""Balanced gradients: training on a sum of rewards that all pull equally hard, whatever their scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rilbench import LoraPair, Stage, Step, Strategy


class Balanced(Strategy):
    """Follows sum of weight x gradient / running norm of the gradient, over the rewards of a stage."""

    norms: Norms

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.weights = stage.rewards
        self.norms = Norms(len(stage.rewards), self.settings.momentum)

    def loss(self, step: Step) -> Tensor:
        rewards = step.rewards_by_name(step.decode(step.denoise()))
        return torch.stack([self.weights[name] * step.term(name, -value) for name, value in rewards.items()]).sum()

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        norms = self.norms.update([gradients[name] for name in self.weights])
        shares = [weight / norm if norm else 0.0 for weight, norm in zip(self.weights.values(), norms, strict=True)]
        return torch.stack([share * gradients[name] for name, share in zip(self.weights, shares, strict=True)]).sum(0)

    def state(self) -> dict[str, Tensor]:
        return {"norms": torch.tensor([*self.norms.values, self.norms.share], dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        *self.norms.values, self.norms.share = state["norms"].tolist()


class Norms:
    """The exponential average of n gradient norms, corrected for its start at zero as in Adam."""

    def __init__(self, n: int, momentum: float) -> None:
        self.values = [0.0] * n
        self.share = 0.0  # the sum of the weights in the average, which Adam's correction divides by
        self.momentum = momentum

    def update(self, gradients: Sequence[Tensor]) -> list[float]:
        """Add the norms of n gradients (P,); returns the averages, 0 for one that was always zero."""
        m = self.momentum
        self.share = m * self.share + (1 - m)
        for i, gradient in enumerate(gradients):
            norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)  # squares of tiny numbers underflow
            self.values[i] = m * self.values[i] + (1 - m) * float(norm)
        return [value / self.share for value in self.values]
