"""What a metric must do: measure a set of images the same way however it is shown to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from rilbench.contracts.components import MeanMetric, Metric
from rilbench.testing import inputs
from rilbench.testing.check import Check, Subject, check, require
from rilbench.testing.common import can_be_made
from rilbench.testing.surroundings import watched

MetricSubject: TypeAlias = Subject[Metric]
IMAGES = 8
ROUNDING = 1e-3  # share of a value: what another order of float32 sums may change


def pictures(subject: MetricSubject, *, seed: int = 0) -> Tensor:
    """Eight test images (8, 3, S, S); seed 3 for those of the untouched model."""
    return inputs.images(IMAGES, subject.image_size, seed=seed, device=subject.device)


def captions(subject: MetricSubject) -> list[str]:
    """The prompts of the eight images: four, each twice, as an evaluation has several images of a prompt."""
    return [prompt for prompt in subject.prompts[: IMAGES // 2] for _ in range(2)]


def update(metric: Metric, images: Tensor, prompts: Sequence[str], base: Tensor) -> Tensor | None:
    """Add images as the engine does: without gradient, and with base images only where they are asked for."""
    extra = {"base_images": base} if metric.needs_base else {}
    with torch.no_grad():
        return metric.update(images, list(prompts), **extra)


def measure(
    subject: MetricSubject, images: Tensor, *, base: Tensor | None = None, sizes: Sequence[int] = (IMAGES,)
) -> float:
    """The shared instance's value of images with the captions, shown in batches of these sizes."""
    metric, base = subject.instance, pictures(subject, seed=3) if base is None else base
    metric.reset()
    start = 0
    for size in sizes:
        part = slice(start, start + size)
        update(metric, images[part].clone(), captions(subject)[part], base[part].clone())
        start += size
    return metric.compute()


def alike(found: float, expected: float) -> bool:
    """Whether two values differ by no more than rounding."""
    return math.isclose(found, expected, rel_tol=ROUNDING, abs_tol=1e-6) or (math.isnan(found) and math.isnan(expected))


@check()
def the_direction_is_declared(subject: MetricSubject) -> None:
    """`higher_is_better` is a bool of the class; tables and forgetting need the direction."""
    value = getattr(subject.component, "higher_is_better", None)
    require(isinstance(value, bool), f"higher_is_better is {value!r}; declare True or False on the class")
    declared = any("higher_is_better" in vars(cls) for cls in subject.component.__mro__ if cls is not MeanMetric)
    require(declared, "higher_is_better is MeanMetric's; declare True or False on the class")


@check()
def the_unit_is_a_string(subject: MetricSubject) -> None:
    """`unit` is a string that tables print after the name; it may be empty."""
    require(isinstance(subject.component.unit, str), f"unit is {subject.component.unit!r}, no string")


@check(can_be_made)
def images_can_be_added(subject: MetricSubject) -> None:
    """`reset`, `update` and `compute` run, with base images only if `needs_base` is True."""
    measure(subject, pictures(subject))


@check(images_can_be_added)
def the_value_is_a_float(subject: MetricSubject) -> None:
    """`compute` returns a Python float, which is written to files and compared."""
    value = measure(subject, pictures(subject))
    require(type(value) is float, f"compute gives a {type(value).__name__}, no float")


@check(the_value_is_a_float)
def the_value_is_finite(subject: MetricSubject) -> None:
    """Eight ordinary images have a finite value."""
    value = measure(subject, pictures(subject))
    require(math.isfinite(value), f"the value of {IMAGES} ordinary images is {value}")


@check(the_value_is_finite)
def nothing_measured_is_nan(subject: MetricSubject) -> None:
    """Without images the value is NaN; a number would look like a measurement."""
    metric = subject.fresh()
    metric.reset()
    value = metric.compute()
    require(math.isnan(value), f"compute without an image gives {value}, not NaN")


@check(the_value_is_finite)
def computing_twice_gives_the_same(subject: MetricSubject) -> None:
    """`compute` does not change the state: calling it twice returns the same value."""
    first, second = measure(subject, pictures(subject)), subject.instance.compute()
    require(alike(second, first), f"compute gives {first:.6g}, then {second:.6g}")


@check(the_value_is_finite)
def instances_agree(subject: MetricSubject) -> None:
    """Two instances with the same settings measure the same value: nothing is random."""
    values = []
    for seed in (8_461, 8_462):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            metric = subject.fresh()
            metric.reset()
            update(metric, pictures(subject), captions(subject), pictures(subject, seed=3))
            values.append(metric.compute())
    require(alike(*values), f"two instances of the same settings measure {values[0]:.6g} and {values[1]:.6g}")


@check(instances_agree)
def reset_forgets(subject: MetricSubject) -> None:
    """`reset` removes every image: one instance measures several stages in turn."""
    metric = subject.fresh()
    found = []
    for seed in (0, 5, 0):
        metric.reset()
        update(metric, pictures(subject, seed=seed), captions(subject), pictures(subject, seed=3))
        found.append(metric.compute())
    require(alike(found[2], found[0]), f"the same images measure {found[0]:.6g}, and {found[2]:.6g} after a reset")


@check(reset_forgets)
def other_images_are_measured_anew(subject: MetricSubject) -> None:
    """Other images of the same prompts have the value that a new instance gives them: a cache holds no values."""
    measure(subject, pictures(subject))
    found, other = measure(subject, pictures(subject, seed=5)), subject.fresh()
    other.reset()
    update(other, pictures(subject, seed=5), captions(subject), pictures(subject, seed=3))
    expected = other.compute()
    told = f"other images of the same prompts measure {found:.6g}, with a new instance {expected:.6g}"
    require(alike(found, expected), told)


@check(reset_forgets, computing_twice_gives_the_same)
def batches_add_up(subject: MetricSubject) -> None:
    """Images added in several batches have the value of one batch: the batch size is no part of a result's identity."""
    whole = measure(subject, pictures(subject))
    parts = measure(subject, pictures(subject), sizes=(1, 4, 3))
    require(alike(parts, whole), f"one batch of {IMAGES} measures {whole:.6g}, batches of 1, 4 and 3 {parts:.6g}")


@check(batches_add_up)
def an_empty_batch_changes_nothing(subject: MetricSubject) -> None:
    """Adding no image does not change the value: the last batch of a process may be empty."""
    plain = measure(subject, pictures(subject))
    padded = measure(subject, pictures(subject), sizes=(0, IMAGES, 0))
    require(alike(padded, plain), f"{IMAGES} images measure {plain:.6g}, with empty batches around them {padded:.6g}")


@check(reset_forgets)
def the_order_does_not_matter(subject: MetricSubject) -> None:
    """The value of a set of images does not depend on their order."""
    metric, order = subject.instance, torch.tensor([3, 6, 0, 7, 1, 5, 2, 4])
    images, base = pictures(subject), pictures(subject, seed=3)
    forward = measure(subject, images)
    metric.reset()
    update(metric, images[order], [captions(subject)[i] for i in order.tolist()], base[order])
    shuffled = metric.compute()
    require(alike(shuffled, forward), f"the images measure {forward:.6g}, in another order {shuffled:.6g}")


@check(reset_forgets)
def update_gives_scores_or_none(subject: MetricSubject) -> None:
    """`update` returns finite scores (B,) without gradient, for the intervals, or None for a set metric."""
    metric, images, base = subject.instance, pictures(subject), pictures(subject, seed=3)
    metric.reset()
    for n in (IMAGES, 1):
        scores = update(metric, images[:n], captions(subject)[:n], base[:n])
        if scores is None:
            continue
        require(isinstance(scores, Tensor), f"update gives a {type(scores).__name__}, neither a tensor nor None")
        require(scores.shape == (n,), f"update gives scores of shape {tuple(scores.shape)} for {n} images")
        require(bool(scores.isfinite().all()), "update gives scores that are not finite")
        require(not scores.requires_grad, "update gives scores that require a gradient; compute them without")


def _without_base(subject: MetricSubject) -> str | None:
    return None if subject.component.needs_base else "it declares needs_base = False"


@check(reset_forgets, not_for=_without_base)
def base_images_matter(subject: MetricSubject) -> None:
    """A metric with `needs_base = True` uses the base images; keeping them costs memory."""
    first = measure(subject, pictures(subject))
    other = measure(subject, pictures(subject), base=pictures(subject, seed=9))
    require(not math.isclose(first, other, rel_tol=1e-9), "other base images measure the same; drop needs_base")


@check(images_can_be_added)
def images_are_left_alone(subject: MetricSubject) -> None:
    """Neither images nor base images are changed in place: the next metric uses the same tensors."""
    for_metric = pictures(subject), pictures(subject, seed=3)
    subject.instance.reset()
    update(subject.instance, for_metric[0], captions(subject), for_metric[1])
    subject.instance.compute()
    for seen, seed, name in zip(for_metric, (0, 3), ("images", "base images"), strict=True):
        change = float((seen - pictures(subject, seed=seed)).abs().max())
        require(change == 0, f"the {name} are changed in place by up to {change:.3g}")


@check(images_can_be_added)
def global_state_is_left_alone(subject: MetricSubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    measure(subject, pictures(subject))  # a first call may import and warm up
    with watched() as found:
        measure(subject, pictures(subject))
    require(not found, f"measuring changes {', '.join(found)}")
    with watched(drawing=False) as found:  # models draw initial weights before they load their own
        subject.fresh()
    require(not found, f"making an instance changes {', '.join(found)}")


CHECKS: tuple[Check, ...] = (
    the_direction_is_declared,
    the_unit_is_a_string,
    images_can_be_added,
    the_value_is_a_float,
    the_value_is_finite,
    nothing_measured_is_nan,
    computing_twice_gives_the_same,
    instances_agree,
    reset_forgets,
    other_images_are_measured_anew,
    batches_add_up,
    an_empty_batch_changes_nothing,
    the_order_does_not_matter,
    update_gives_scores_or_none,
    base_images_matter,
    images_are_left_alone,
    global_state_is_left_alone,
)
