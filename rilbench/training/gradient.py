"""The gradient of an update, summed over the parts of its batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rilbench.training.checked import CheckedStrategy, finite
from rilbench.training.step import TrainingStep


class Gradient:
    """Sums over the parts, each weighted by its share: for losses that are means, the gradient of the whole batch.

    by_term: also measure the gradient of each term of the loss, and of each reward in a sum of several. This costs one
        backward pass for each.
    """

    def __init__(self, strategy: CheckedStrategy, factors: Sequence[Tensor], *, by_term: bool) -> None:
        self.strategy, self.factors, self.by_term = strategy, factors, by_term
        self.values: dict[str, float] = defaultdict(float)  # the loss, its terms, the reward
        self.terms: dict[str, Tensor] = {}  # (P,), the gradient of each with respect to all factors in one row
        self.shares: dict[str, Tensor] = {}  # the same of the rewards

    def backward(self, loss: Tensor, step: TrainingStep, share: float) -> None:
        """Add the gradient of one part to the factors' `grad`, or to the terms' if the strategy combines them."""
        for name, value in step.values(loss).items():
            self.values[name] += share * value.item()
        with self.strategy.backward():
            if self.strategy.combines or (self.by_term and len(step.terms) > 1):
                self._add(self.terms, step.terms, share)
            if self.by_term:
                self._add(self.shares, step.shares, share)
            if not self.strategy.combines:
                (share * loss).backward()  # type: ignore[no-untyped-call]

    def finish(self, *, longest: float) -> float:
        """The norm of the gradient, which is then clipped to `longest`; 0 clips nothing."""
        if self.strategy.combines:
            numbers = [factor.numel() for factor in self.factors]
            row = self.strategy.combine(dict(self.terms), sum(numbers))
            for factor, part in zip(self.factors, torch.split(row, numbers), strict=True):
                factor.grad = part.reshape(factor.shape).to(factor)
        gradients = [factor.grad for factor in self.factors if factor.grad is not None]
        norm = finite("the gradient", torch.nn.utils.get_total_norm(gradients))
        if longest:
            clip(gradients, longest, norm)
        return norm.item()

    def measured(self) -> dict[str, float]:
        """Before clipping, the gradient norm of each term of the loss and of each reward in a sum, with its weight; of
        the gradient as the optimiser receives it, the median size of its numbers that are not exactly 0, as those of
        A_t are while B_t is 0."""
        return self._norms() | self._median() if self.by_term else {}

    def _median(self) -> dict[str, float]:
        sizes = torch.cat([f.grad.abs().flatten() for f in self.factors if f.grad is not None])
        return {"gradient_median": sizes[sizes > 0].median().item()} if sizes.any() else {}

    def _norms(self) -> dict[str, float]:
        rows = self.terms | self.shares
        if len(rows) < 2:
            return {}
        # squares of tiny numbers underflow in float32
        norms = {name: torch.linalg.vector_norm(row, dtype=torch.float64) for name, row in rows.items()}
        return {f"gradient/{name}": float(norm) for name, norm in norms.items()}

    def _add(self, rows: dict[str, Tensor], values: Mapping[str, Tensor], share: float) -> None:
        for name, value in values.items():
            if value.requires_grad:
                gradients = torch.autograd.grad(
                    value, self.factors, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                row = share * torch.cat([g.flatten() for g in gradients])
                rows[name] = rows[name] + row if name in rows else row


def clip(gradients: Sequence[Tensor], longest: float, norm: Tensor) -> None:
    """Shorten a gradient of this norm; torch's own adds 1e-6 to the norm, more than many rewards' gradients have."""
    if norm > longest:
        for gradient in gradients:
            gradient.mul_(longest / norm)
