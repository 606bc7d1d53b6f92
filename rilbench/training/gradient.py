"""The gradient of one update, from its batch in one go or in parts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench.contracts import Strategy
from rilbench.errors import DivergedError, PluginError, blamed
from rilbench.training.step import TrainingStep


class Gradient:
    """Sums over the parts of a batch, each weighted by its share: what the whole batch has, for losses that are means.

    The gradient itself is left in the `grad` of the factors.
    """

    def __init__(self, strategy: Strategy, who: str, factors: Sequence[Tensor], *, terms: bool) -> None:
        self.strategy, self.who, self.factors, self.terms = strategy, who, factors, terms
        self.values: dict[str, float] = defaultdict(float)  # the loss, its terms, the reward
        self._of_terms: dict[str, list[Tensor]] = {}

    def add(self, step: TrainingStep, share: float) -> None:
        """Backward of one part. PluginError for a loss without gradient, DivergedError for one that is not finite."""
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
        if self.terms and len(step.terms) > 1:
            self._add_terms(step, share)
        with blamed(f"{self.who} or a reward, in its backward pass,"):
            (share * loss).backward()  # type: ignore[no-untyped-call]

    def norms(self) -> dict[str, float]:
        """The gradient norm of each term of the loss with respect to the pair, before clipping."""
        return {f"gradient/{name}": _norm(gradients) for name, gradients in self._of_terms.items()}

    def _add_terms(self, step: TrainingStep, share: float) -> None:
        for name, value in step.terms.items():
            if value.requires_grad:
                found = torch.autograd.grad(
                    value, self.factors, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                before = self._of_terms.get(name)
                parts = [share * g for g in found]
                self._of_terms[name] = parts if before is None else [a + b for a, b in zip(before, parts, strict=True)]


def finite(what: str, value: Tensor) -> None:
    """DivergedError unless every number is."""
    if not torch.isfinite(value).all():
        raise DivergedError(f"the {what} is not finite (NaN or infinite)")


def _norm(gradients: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(g.pow(2).sum()) for g in gradients))
