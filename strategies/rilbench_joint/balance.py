"""Balanced gradients: training on a sum of rewards that all pull equally hard, whatever their scales."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rilbench import LoraPair, Stage, Step, Strategy


class Balanced(Strategy):
    """Follows sum of weight x gradient / running norm of the gradient, over the rewards of a stage.

    The running norm is an exponential average, corrected for its start at zero as in Adam.
    """

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.weights = stage.rewards
        self.norms = [0.0] * len(stage.rewards)
        self.share = 0.0  # what Adam's correction divides by: 1 - momentum^updates

    def loss(self, step: Step) -> Tensor:
        rewards = step.rewards_by_name(step.decode(step.denoise()))
        return torch.stack([self.weights[name] * step.term(name, -value) for name, value in rewards.items()]).sum()

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        m, rows = self.settings.momentum, [gradients[name] for name in self.weights]  # each (P,)
        # squares of tiny numbers underflow in float32
        lengths = [float(torch.linalg.vector_norm(row, dtype=torch.float64)) for row in rows]
        self.norms = [m * norm + (1 - m) * length for norm, length in zip(self.norms, lengths, strict=True)]
        self.share = m * self.share + (1 - m)
        factors = [w / (n / self.share) if n else 0.0 for w, n in zip(self.weights.values(), self.norms, strict=True)]
        return torch.stack([factor * row for factor, row in zip(factors, rows, strict=True)]).sum(0)

    def state(self) -> dict[str, Tensor]:
        return {"norms": torch.tensor([*self.norms, self.share], dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        *self.norms, self.share = state["norms"].tolist()
