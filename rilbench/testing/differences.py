"""A gradient against central differences, image by image along several directions."""

from __future__ import annotations

import torch
from torch import Tensor

from rilbench.testing import inputs
from rilbench.testing.scoring import RewardSubject, score

STEPS = {  # largest change of a pixel; the best of them counts, because kinks and rounding spoil single ones
    "fp32": (3e-2, 1e-2, 3e-3, 1e-3),
    "fp64": (1e-4, 1e-5, 1e-6, 1e-7),
}


def worst_disagreement(subject: RewardSubject, images: Tensor, gradient: Tensor) -> float:
    """The largest |difference quotient - <gradient, direction>| over images and directions, in gradient norms."""
    return max(_disagreement(subject, images, gradient, d) for d in _directions(images, gradient))


def _directions(images: Tensor, gradient: Tensor) -> list[Tensor]:
    """Unit directions (B, 3, S, S): steepest ascent shows sign and size, noise added to it and channels the rest.

    Noise alone is nearly orthogonal to the gradient, where rounding hides everything.
    """
    steepest, size = _unit(gradient), images.shape[-1]
    smooth = _unit(inputs.smooth(len(images), size, seed=11).to(images))
    grain = _unit(torch.randn(images.shape, generator=torch.Generator().manual_seed(12)).to(images))
    channels = [_unit(mask.expand_as(images)) for mask in torch.eye(3).to(images)[:, None, :, None, None]]
    return [steepest, _unit(steepest + smooth), _unit(steepest + grain), *channels]


def _disagreement(subject: RewardSubject, images: Tensor, gradient: Tensor, direction: Tensor) -> float:
    slope = (gradient * direction).flatten(1).sum(1)  # (B,)
    largest = direction.flatten(1).abs().amax(1)  # (B,)
    errors = []
    for step in STEPS["fp64" if images.dtype == torch.float64 else "fp32"]:
        length = step / largest  # (B,)
        change = length[:, None, None, None] * direction
        with torch.no_grad():
            up, down = score(subject, images + change), score(subject, images - change)
        quotient = (up.double() - down.double()) / (2 * length.double())
        errors.append((quotient - slope.double()).abs() / gradient.double().flatten(1).norm(dim=1))
    return float(torch.stack(errors).amin(0).max())


def _unit(direction: Tensor) -> Tensor:
    norms: Tensor = direction.flatten(1).norm(dim=1)
    return direction / norms[:, None, None, None]
