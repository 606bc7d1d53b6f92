"""What the scores of a reward must be like."""

from __future__ import annotations

from typing import get_args, get_type_hints

import torch
from torch import Tensor

from rilbench.contracts.components import Reward
from rilbench.contracts.errors import reason
from rilbench.testing.check import Fault, check, require, unless
from rilbench.testing.common import can_be_made
from rilbench.testing.scoring import BATCH, LARGE, RewardSubject, brief, captions, distance, edges, rounding, score
from rilbench.testing.surroundings import require_untouched

HALF = 0.05  # the same for scores of bf16 images, which have three digits


@check()
def declarations_are_valid(subject: RewardSubject) -> None:
    """The class attributes have the types that the engine expects; a string instead of a tuple fails late in a run."""
    cls = subject.component
    for name in ("differentiable", "uses_prompts"):
        require(isinstance(getattr(cls, name), bool), f"{name} is {getattr(cls, name)!r}, no bool")
    known = get_args(get_args(get_type_hints(Reward)["precision"])[0])
    require(cls.precision in known, f"precision is {cls.precision!r}, not one of {', '.join(known)}")
    names = isinstance(cls.metrics, tuple) and all(isinstance(name, str) for name in cls.metrics)
    require(names, f"metrics is {cls.metrics!r}, no tuple of names")


@check(can_be_made)
def there_is_one_score_an_image(subject: RewardSubject) -> None:
    """Scores are a floating point tensor of shape (B,), one per image."""
    scores = score(subject, subject.pictures(BATCH))
    require(isinstance(scores, Tensor), f"scores are of type {type(scores).__name__}, no tensor")
    require(scores.shape == (BATCH,), f"scores of {BATCH} images have shape {tuple(scores.shape)}, not ({BATCH},)")
    require(scores.is_floating_point(), f"scores are of {scores.dtype}, no floating point type")


@check(there_is_one_score_an_image)
def a_batch_of_one_works(subject: RewardSubject) -> None:
    """One image gives scores of shape (1,); an extra squeeze makes it a scalar."""
    scores = score(subject, subject.pictures(1))
    require(scores.shape == (1,), f"the scores of one image have shape {tuple(scores.shape)}, not (1,)")


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
    same = torch.equal(first, second) if subject.exact else _alike(subject, first, second)
    require(same, f"the same call gives {brief(first)}, then {brief(second)}")


def _alike(subject: RewardSubject, expected: Tensor, found: Tensor) -> bool:
    return distance(found, expected) < rounding(subject)


@check(scores_are_deterministic)
def instances_agree(subject: RewardSubject) -> None:
    """Two instances with the same settings give the same scores: weights do not come from chance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8_461)
        other = subject.fresh()
    first, second = score(subject, subject.pictures(BATCH)), other(subject.pictures(BATCH), captions(subject, BATCH))
    same = _alike(subject, first, second)
    require(same, f"two instances of the same settings give {brief(first)} and {brief(second)}")


@check(scores_are_deterministic)
def images_are_left_alone(subject: RewardSubject) -> None:
    """The images are not changed in place: other rewards and the strategy use the same tensor."""
    images, seen = subject.pictures(BATCH), subject.pictures(BATCH)
    subject.instance(seen, captions(subject, BATCH))
    require(torch.equal(seen, images), f"the call changes the images by up to {(seen - images).abs().max():.3g}")
    require(not seen.requires_grad, "the call makes the images require a gradient")


@check(scores_are_deterministic, a_batch_of_one_works)
def scores_do_not_depend_on_the_batch(subject: RewardSubject) -> None:
    """An image has the same score alone and in a batch; otherwise the batch size changes every number."""
    images, prompts = subject.pictures(BATCH), captions(subject, BATCH)
    together = score(subject, images)
    alone = torch.cat([score(subject, images[i : i + 1], prompts[i : i + 1]) for i in range(BATCH)])
    others = torch.cat([images, subject.pictures(LARGE - BATCH, seed=7)]).flip(0)
    theirs = [subject.other_prompts[i % BATCH] for i in range(LARGE - BATCH)]
    among = score(subject, others, [*theirs, *reversed(prompts)]).flip(0)[:BATCH]
    for found, how in ((alone, "alone"), (among, "in another batch")):
        error = distance(found, together)
        require(error < rounding(subject), f"scored {how}, images have scores that differ by {error:.2%}")


@check(instances_agree)
def other_images_are_scored_anew(subject: RewardSubject) -> None:
    """Other images of the same prompts have the scores that a new instance gives them: a cache holds no scores."""
    score(subject, subject.pictures(BATCH))
    other = subject.pictures(BATCH, seed=7)
    found, expected = score(subject, other), subject.fresh()(other.clone(), captions(subject, BATCH))
    same = _alike(subject, expected, found)
    require(same, f"other images of the same prompts have {brief(found)}, scored by a new instance {brief(expected)}")


def _change_by_prompts(subject: RewardSubject) -> float:
    return distance(
        score(subject, subject.pictures(BATCH), subject.other_prompts), score(subject, subject.pictures(BATCH))
    )


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
        raise Fault(f"bf16 images give {reason(error)}; convert the images first") from error
    error_ = distance(half, score(subject, images.float()))
    require(error_ <= HALF, f"scores of bf16 images differ from those in float32 by {error_:.1%}, more than {HALF:.0%}")


@check(can_be_made)
def global_state_is_left_alone(subject: RewardSubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    require_untouched(subject, lambda: score(subject, subject.pictures(BATCH)), "a call")
