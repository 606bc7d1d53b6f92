"""Checks of a reward's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, get_args, get_type_hints

import torch
from torch import Tensor

from rilbench.contracts.components import Reward
from rilbench.contracts.errors import reason
from rilbench.host.guard import images_kept, scores_of
from rilbench.testing.check import Fault, Subject, check, require, unless
from rilbench.testing.common import can_be_made
from rilbench.testing.surroundings import require_untouched

RewardSubject: TypeAlias = Subject[Reward]
BATCH = 4
LARGE = 17  # more images than are usually scored at a time
HALF = 0.05  # share of a score that may differ for bf16 images, which have three digits


def captions(subject: RewardSubject, n: int, *, first: int = 0) -> list[str]:
    """The prompts of n images; from the ninth on they come again, as those of an evaluation do."""
    return [subject.prompts[(first + i) % len(subject.prompts)] for i in range(n)]


def score(subject: RewardSubject, images: Tensor, prompts: Sequence[str] | None = None) -> Tensor:
    """Scores (B,) of a copy of the images, for the first B prompts."""
    return subject.instance(images.clone(), list(prompts or captions(subject, len(images))))


def edges(subject: RewardSubject) -> dict[str, Tensor]:
    """Two black images and two white ones."""
    return {name: torch.full_like(subject.pictures(2), value) for name, value in (("black", 0.0), ("white", 1.0))}


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected value."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=torch.finfo(torch.float64).tiny))


def rounding(subject: RewardSubject) -> float:
    """What another order of float32 sums may change, as a share of the largest score; more where TF32 is used."""
    return 1e-4 if subject.exact else 1e-3


def require_alike(subject: RewardSubject, expected: Tensor, found: Tensor, fault: str) -> None:
    """Fault if scores differ by more than rounding; the message has places for both."""
    same = distance(found, expected) < rounding(subject)
    require(same, fault.format(brief(expected), brief(found)))


def brief(values: Tensor) -> str:
    """The first few values for a message."""
    shown = ", ".join(f"{v:.6g}" for v in values.detach().flatten()[:4].tolist())
    return f"[{shown}{', ...' if values.numel() > 4 else ''}]"


@check()
def declarations_are_valid(subject: RewardSubject) -> None:
    """The class attributes have the types that the engine expects; a string instead of a tuple fails late in a run."""
    cls = subject.component
    for name in ("differentiable", "uses_prompts"):
        require(isinstance(getattr(cls, name), bool), f"{name} is {getattr(cls, name)!r}, not a bool")
    known = get_args(get_args(get_type_hints(Reward)["precision"])[0])
    require(cls.precision in known, f"precision is {cls.precision!r}, not one of {', '.join(known)}")
    names = isinstance(cls.metrics, tuple) and all(isinstance(name, str) for name in cls.metrics)
    require(names, f"metrics is {cls.metrics!r}, not a tuple of names")


@check(can_be_made)
def there_is_one_score_an_image(subject: RewardSubject) -> None:
    """Scores are a floating point tensor of shape (B,), one per image."""
    scores = scores_of("a call", score(subject, subject.pictures(BATCH)), BATCH)
    require(scores.is_floating_point(), f"scores are of {scores.dtype}, not a floating point type")


@check(there_is_one_score_an_image)
def a_batch_of_one_works(subject: RewardSubject) -> None:
    """One image gives scores of shape (1,); an extra squeeze makes it a scalar."""
    scores_of("a call", score(subject, subject.pictures(1)), 1)


@check(there_is_one_score_an_image)
def scores_are_on_the_device(subject: RewardSubject) -> None:
    """The scores are on the device of the images; a CPU must be sufficient."""
    found, wanted = score(subject, subject.pictures(BATCH)).device.type, torch.device(subject.device).type
    require(found == wanted, f"scores of images on {wanted} are on {found}")


@check(scores_are_on_the_device)
def scores_are_finite(subject: RewardSubject) -> None:
    """Ordinary images have no NaN or infinite score, which would end a training."""
    _require_finite(subject, subject.pictures(BATCH), "ordinary")


@check(scores_are_finite)
def scores_are_finite_at_the_edges(subject: RewardSubject) -> None:
    """All black and all white images have finite scores too; a diverging model makes such images."""
    for name, images in edges(subject).items():
        _require_finite(subject, images, f"all {name}")


def _require_finite(subject: RewardSubject, images: Tensor, which: str) -> None:
    scores = score(subject, images)
    require(bool(scores.isfinite().all()), f"scores of {which} images are {brief(scores)}")


@check(scores_are_finite)
def scores_are_deterministic(subject: RewardSubject) -> None:
    """The same images have the same scores; otherwise results cannot be reproduced."""
    first, second = (score(subject, subject.pictures(BATCH)) for _ in range(2))
    fault = "the same call returns {}, then {}"
    require_alike(subject, first, second, fault)
    require(not subject.exact or torch.equal(first, second), fault.format(brief(first), brief(second)))


@check(scores_are_deterministic)
def instances_agree(subject: RewardSubject) -> None:
    """Two instances with the same settings give the same scores: no weight is random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8_461)
        other = subject.fresh()
    first, second = score(subject, subject.pictures(BATCH)), other(subject.pictures(BATCH), captions(subject, BATCH))
    require_alike(subject, first, second, "two instances of the same settings return {} and {}")


@check(scores_are_deterministic)
def images_are_left_alone(subject: RewardSubject) -> None:
    """The images are not changed in place: other rewards and the strategy use the same tensor."""
    seen = subject.pictures(BATCH)
    with images_kept("a call", seen):
        subject.instance(seen, captions(subject, BATCH))
    require(not seen.requires_grad, "the call makes the images require a gradient")


@check(scores_are_deterministic, a_batch_of_one_works)
def scores_do_not_depend_on_the_batch(subject: RewardSubject) -> None:
    """An image has the same score alone and in a batch; otherwise the batch size changes every number."""
    images, prompts = subject.pictures(BATCH), captions(subject, BATCH)
    together = score(subject, images)
    alone = torch.cat([score(subject, images[i : i + 1], prompts[i : i + 1]) for i in range(BATCH)])
    others = torch.cat([images, subject.pictures(LARGE - BATCH, seed=7)]).flip(0)
    theirs = captions(subject, LARGE - BATCH, first=BATCH)
    among = score(subject, others, [*theirs, *reversed(prompts)]).flip(0)[:BATCH]
    for found, how in ((alone, "alone"), (among, "in another batch")):
        require_alike(subject, together, found, f"scored {how}, images have scores that differ: {{}} and {{}}")


@check(instances_agree)
def other_images_are_scored_anew(subject: RewardSubject) -> None:
    """Other images of the same prompts have the scores that a new instance gives them: do not cache scores."""
    score(subject, subject.pictures(BATCH))
    other = subject.pictures(BATCH, seed=7)
    found, expected = score(subject, other), subject.fresh()(other.clone(), captions(subject, BATCH))
    require_alike(subject, expected, found, "other images of the same prompts have {1}, scored by a new instance {0}")


def _change_by_prompts(subject: RewardSubject) -> float:
    images = subject.pictures(BATCH)
    return distance(score(subject, images, captions(subject, BATCH, first=BATCH)), score(subject, images))


@check(scores_are_deterministic, not_for=unless("uses_prompts", True))
def prompts_change_the_scores(subject: RewardSubject) -> None:
    """A reward with `uses_prompts = True` uses the prompts; tables and advice rely on the declaration."""
    change = _change_by_prompts(subject)
    require(change > 1e-6, "other prompts give the same scores; declare uses_prompts = False")


@check(scores_are_deterministic, not_for=unless("uses_prompts", False))
def prompts_do_not_change_the_scores(subject: RewardSubject) -> None:
    """A reward with `uses_prompts = False` does not use the prompts."""
    change, tolerance = _change_by_prompts(subject), 0.0 if subject.exact else rounding(subject)
    require(change <= tolerance, f"other prompts change scores by {change:.2%}, but uses_prompts is False")


@check(scores_are_deterministic)
def half_precision_images_work(subject: RewardSubject) -> None:
    """bf16 images have about the scores of the same values in float32; models in half precision make such images."""
    images = subject.pictures(BATCH).bfloat16()
    try:
        half = score(subject, images)
    except Exception as error:
        raise Fault(f"bf16 images fail with {reason(error)}; convert the images first") from error
    error_ = distance(half, score(subject, images.float()))
    require(error_ <= HALF, f"scores of bf16 images differ from those in float32 by {error_:.1%}, more than {HALF:.0%}")


@check(can_be_made)
def global_state_is_left_alone(subject: RewardSubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    require_untouched(subject, lambda: score(subject, subject.pictures(BATCH)), "a call")
