"""The gradient of one update, from its batch in one go or in parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench.contracts.errors import DivergedError, PluginError
from rilbench.contracts.strategy import Strategy
from rilbench.host.guard import blamed
from rilbench.training.step import TrainingStep


class Gradient:
    """Sums over the parts of a batch, each weighted by its share: what the whole batch has, for losses that are means.

    `finish` leaves the gradient itself in the `grad` of the factors, after the last part.
    """

    def __init__(self, strategy: Strategy, who: str, factors: Sequence[Tensor], *, terms: bool) -> None:
        self.strategy, self.who, self.factors, self.terms = strategy, who, factors, terms
        self.combined = type(strategy).combine is not Strategy.combine
        self.values: dict[str, float] = defaultdict(float)  # the loss, its terms, the reward
        self._of_terms: dict[str, Tensor] = {}  # (P,), the gradient of each with respect to all factors in one row

    def add(self, step: TrainingStep, share: float) -> None:
        """Backward of one part. PluginError for a loss without gradient, DivergedError for one that is not finite."""
        backward = f"{self.who} or a reward, in its backward pass,"
        with blamed(self.who):
            loss = self.strategy.loss(step)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise PluginError(f"{self.who}: the loss must be a scalar tensor with gradient, it is {got}")
        finite("loss", loss)
        told = {"loss": loss} | {f"loss/{name}": value for name, value in step.terms.items()}
        if step.scores is not None:
            told["reward"] = step.scores.mean()
        for name, value in told.items():
            self.values[name] += share * value.item()
        with blamed(backward):
            if self.combined or (self.terms and len(step.terms) > 1):
                self._add_terms(step, share)
            if not self.combined:
                (share * loss).backward()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Have the strategy combine the gradients of its terms, where it does so itself; once an update."""
        if not self.combined:
            return
        if not self._of_terms:
            raise PluginError(f"{self.who}: combine needs the gradients of terms; record them in loss with step.term")
        with blamed(self.who):
            row = self.strategy.combine(dict(self._of_terms))
        numbers = [factor.numel() for factor in self.factors]
        if not isinstance(row, Tensor) or row.shape != (sum(numbers),):
            got = f"a tensor of shape {tuple(row.shape)}" if isinstance(row, Tensor) else type(row).__name__
            raise PluginError(f"{self.who}: combine must give a tensor of shape ({sum(numbers)},), it gives {got}")
        for factor, part in zip(self.factors, torch.split(row.detach(), numbers), strict=True):
            factor.grad = part.reshape(factor.shape).to(factor)

    def norms(self) -> dict[str, float]:
        """The gradient norm of each term of the loss with respect to the pair, before clipping."""
        if not self.terms or len(self._of_terms) < 2:
            return {}
        return {f"gradient/{name}": float(_norm(gradient)) for name, gradient in self._of_terms.items()}

    def _add_terms(self, step: TrainingStep, share: float) -> None:
        for name, value in step.terms.items():
            if value.requires_grad:
                found = torch.autograd.grad(
                    value, self.factors, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                part = share * torch.cat([g.flatten() for g in found])
                self._of_terms[name] = self._of_terms[name] + part if name in self._of_terms else part


def finite(what: str, value: Tensor) -> None:
    """DivergedError unless every number is."""
    if not torch.isfinite(value).all():
        raise DivergedError(f"the {what} is not finite (NaN or infinite)")


def clip(factors: Sequence[Tensor], longest: float, norm: Tensor) -> None:
    """Shorten a gradient of some norm; torch's own adds 1e-6 to the norm, more than many rewards' gradients have."""
    if norm > longest:
        for gradient in (factor.grad for factor in factors if factor.grad is not None):
            gradient.mul_(longest / norm)


def _norm(gradient: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=torch.float64)  # squares of tiny numbers are no float32
    return norm
