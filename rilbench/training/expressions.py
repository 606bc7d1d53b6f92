"""The scores of an expression over rewards (`rilbench.contracts.expression`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rilbench.contracts.expression import Expression
from rilbench.training.checked import finite

Score = Callable[[str, Tensor], Tensor]  # name of a reward, images (B, 3, H, W) -> checked scores (B,)


def evaluated(expression: Expression, images: Tensor, score: Score, *, progress: float) -> Tensor:
    """Scores (B,). progress: the part of the stage that is done, 0 at its first update and 1 at its last."""
    if expression.name:
        return score(expression.name, images)
    if expression.kind == "unit":
        return _unit(expression.parts[0], images, score, progress)
    values = [evaluated(part, images, score, progress=progress) for part in expression.parts]
    match expression.kind, expression.numbers:
        case "sum", _:
            return torch.stack(values).sum(0)
        case "times", (factor,):
            return factor * values[0]
        case "max", _:
            return torch.stack(values).max(0).values
        case "min", _:
            return torch.stack(values).min(0).values
        case "hinge", (threshold,):
            return values[0].clamp(max=threshold)
        case "ramp", (start, end):
            return (start + (end - start) * progress) * values[0]
    raise ValueError(f"unknown expression {expression.kind}")


def _unit(inner: Expression, images: Tensor, score: Score, progress: float) -> Tensor:
    """The same scores, whose gradient has norm 1 with respect to each image, or is 0 where theirs is.

    An image at a time, so that the parts of a batch (`train.micro_batch`) change nothing. Raises DivergedError, naming
    the rewards, if a gradient is not finite.
    """
    if not images.requires_grad:
        return evaluated(inner, images, score, progress=progress)
    own = images.detach().requires_grad_()
    values = evaluated(inner, own, score, progress=progress)
    (gradient,) = torch.autograd.grad(values.sum(), own)
    finite(f"the gradient of {inner}", gradient)
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)  # float32 underflows
    direction = (gradient.double() / norms.clamp(min=torch.finfo(torch.float64).tiny)[:, None, None, None]).to(images)
    along = (images * direction).flatten(1).sum(1)
    shifted: Tensor = values.detach() + (along - along.detach())
    return shifted
