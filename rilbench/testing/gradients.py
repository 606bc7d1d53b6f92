"""Checks of a reward's gradient, which is all that a strategy has to train on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench.testing import inputs
from rilbench.testing.check import check, require, unless
from rilbench.testing.rewards import (
    BATCH,
    LARGE,
    RewardSubject,
    brief,
    captions,
    declarations_are_valid,
    edges,
    score,
    scores_are_deterministic,
    scores_are_finite_at_the_edges,
    scores_do_not_depend_on_the_batch,
)

PRECISIONS = {
    # share of the gradient's norm that may be wrong; rilbench's own rewards have 0.002 and 2e-10
    # largest change of a pixel; the best of them counts, because kinks and rounding spoil single ones
    "fp32": (torch.float32, 0.05, (3e-2, 1e-2, 3e-3, 1e-3)),
    "fp64": (torch.float64, 1e-6, (1e-4, 1e-5, 1e-6, 1e-7)),
}
LEAK = 1e-6  # share of a gradient
AMONG_MANY = 0.01  # share of an image's gradient that another batch may change; rounding at kinks

not_differentiable = unless("differentiable", True)


def scores_and_gradient(
    subject: RewardSubject, images: Tensor, prompts: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """Scores (B,) and the gradient of their sum (B, 3, S, S)."""
    variable = images.clone().requires_grad_()
    scores = score(subject, variable, prompts)
    (gradient,) = torch.autograd.grad(scores.sum(), variable)
    return scores.detach(), gradient


@check(scores_are_deterministic, not_for=not_differentiable)
def there_is_a_gradient(subject: RewardSubject) -> None:
    """The scores depend on the images differentiably; `detach`, `no_grad`, `item` and numpy break the graph."""
    images = subject.pictures(BATCH).requires_grad_()
    scores = score(subject, images)
    require(scores.requires_grad, "the scores have no gradient; declare differentiable = False or repair the graph")
    (gradient,) = torch.autograd.grad(scores.sum(), images, allow_unused=True)
    require(gradient is not None, "the gradient of the scores does not reach the images")


@check(there_is_a_gradient, not_for=not_differentiable)
def the_gradient_is_finite(subject: RewardSubject) -> None:
    """Ordinary images have no NaN or infinite gradient, which would end a training."""
    _require_finite(subject, subject.pictures(BATCH))


@check(the_gradient_is_finite, scores_are_finite_at_the_edges, not_for=not_differentiable)
def the_gradient_is_finite_at_the_edges(subject: RewardSubject) -> None:
    """All black and all white images have a finite gradient too; square roots often fail here."""
    for name, images in edges(subject).items():
        _require_finite(subject, images, f" at all {name} images")


def _require_finite(subject: RewardSubject, images: Tensor, where: str = "") -> None:
    _, gradient = scores_and_gradient(subject, images)
    bad = int((~gradient.isfinite()).sum())
    require(bad == 0, f"{bad} of {gradient.numel()} values of the gradient{where} are not finite")


@check(the_gradient_is_finite, not_for=not_differentiable)
def the_gradient_is_not_zero(subject: RewardSubject) -> None:
    """Every image has a gradient that is not zero; rounding and saturation remove it."""
    _, gradient = scores_and_gradient(subject, subject.pictures(BATCH))
    norms = _norms(gradient)
    require(bool((norms > 0).all()), f"the gradients of {BATCH} images have norms {brief(norms)}")


@check(the_gradient_is_finite, scores_do_not_depend_on_the_batch, not_for=not_differentiable)
def gradients_do_not_mix_images(subject: RewardSubject) -> None:
    """The score of an image has no gradient with respect to other images of the batch."""
    images = subject.pictures(BATCH).requires_grad_()
    scores = score(subject, images)
    (gradient,) = torch.autograd.grad(scores[0], images)
    own, leaked = float(gradient[0].norm()), float(gradient[1:].norm())
    require(leaked <= LEAK * own, f"the score of one image has a gradient of norm {leaked:.3g} to the others")


@check(gradients_do_not_mix_images, the_gradient_is_not_zero, not_for=not_differentiable)
def every_image_of_a_large_batch_has_its_gradient(subject: RewardSubject) -> None:
    """An image has the same gradient in a large batch as in a small one: none is skipped or scaled by the batch."""
    images, prompts = subject.pictures(LARGE), captions(subject, LARGE)
    _, together = scores_and_gradient(subject, images, prompts)
    rows = [slice(start, start + BATCH) for start in range(0, LARGE, BATCH)]
    few = torch.cat([scores_and_gradient(subject, images[part], prompts[part])[1] for part in rows])
    errors = _norms(together - few) / _norms(few)
    worst = int(errors.argmax())
    fault = f"in a batch of {LARGE} the gradient of image {worst + 1} differs by {errors[worst]:.1%}"
    require(bool((errors <= AMONG_MANY).all()), f"{fault} from that in a batch of {BATCH}")


@check(gradients_do_not_mix_images, the_gradient_is_not_zero, declarations_are_valid, not_for=not_differentiable)
def the_gradient_is_correct(subject: RewardSubject) -> None:
    """The gradient agrees with finite differences, in the precision that the reward declares."""
    precision = subject.component.precision
    dtype, tolerance, steps = PRECISIONS[precision]
    images = subject.pictures(BATCH, dtype=dtype)
    scores, gradient = scores_and_gradient(subject, images)
    if precision == "fp64":
        require(scores.dtype == torch.float64, f"precision is fp64, but float64 images have {scores.dtype} scores")
    error = max(_disagreement(subject, images, gradient, d, steps) for d in _directions(images, gradient))
    fault = f"the gradient differs from finite differences by {error:.3g} of its norm, more than {tolerance}"
    require(error <= tolerance, fault)


def _directions(images: Tensor, gradient: Tensor) -> list[Tensor]:
    """Unit directions (B, 3, S, S): steepest ascent shows sign and size, noise added to it and channels the rest.

    Noise alone is nearly orthogonal to the gradient, where rounding hides everything.
    """
    steepest, size = _unit(gradient), images.shape[-1]
    smooth = _unit(inputs.smooth(len(images), size, seed=11).to(images))
    grain = _unit(torch.randn(images.shape, generator=torch.Generator().manual_seed(12)).to(images))
    channels = [_unit(mask.expand_as(images)) for mask in torch.eye(3).to(images)[:, None, :, None, None]]
    return [steepest, _unit(steepest + smooth), _unit(steepest + grain), *channels]


def _disagreement(
    subject: RewardSubject, images: Tensor, gradient: Tensor, direction: Tensor, steps: Sequence[float]
) -> float:
    """The largest |difference quotient - <gradient, direction>| over images, in gradient norms."""
    slope = (gradient * direction).flatten(1).sum(1)  # (B,)
    largest = direction.flatten(1).abs().amax(1)  # (B,)
    errors = []
    for step in steps:
        length = step / largest  # (B,)
        change = length[:, None, None, None] * direction
        with torch.no_grad():
            up, down = score(subject, images + change), score(subject, images - change)
        quotient = (up.double() - down.double()) / (2 * length.double())
        errors.append((quotient - slope.double()).abs() / _norms(gradient.double()))
    return float(torch.stack(errors).amin(0).max())


def _norms(images: Tensor) -> Tensor:
    norms: Tensor = images.flatten(1).norm(dim=1)  # (B,)
    return norms


def _unit(direction: Tensor) -> Tensor:
    return direction / _norms(direction)[:, None, None, None]
