"""Checks of a metric: it measures a set of images the same in whatever batches and order they come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from rilbench.contracts.components import MeanMetric, Metric
from rilbench.host.guard import images_kept, scores_of
from rilbench.testing.check import Subject, check, require, unless
from rilbench.testing.common import can_be_made
from rilbench.testing.surroundings import require_untouched

MetricSubject: TypeAlias = Subject[Metric]
IMAGES = 8
ALL = range(IMAGES)
BASE = 3  # the seed of the untouched model's images
ROUNDING = 1e-3  # share of a value: what another order of float32 sums may change


def update(subject: MetricSubject, metric: Metric, images: Tensor, base: Tensor, rows: Sequence[int]) -> Tensor | None:
    """Add images as the engine does: without gradient, and with base images only where they are asked for.

    The prompts are four, each of two images, as an evaluation has several images of a prompt.
    """
    extra = {"base_images": base} if metric.needs_base else {}
    with torch.no_grad():
        return metric.update(images, [subject.prompts[i // 2] for i in rows], **extra)


def measure(
    subject: MetricSubject,
    metric: Metric | None = None,
    *,
    seed: int = 0,
    base: int = BASE,
    sizes: Sequence[int] = (IMAGES,),
    order: Sequence[int] = ALL,
) -> float:
    """The value of a seed's images shown in this order in batches of these sizes, by the shared instance or another."""
    metric, rest = metric or subject.instance, list(order)
    images, base_images = subject.pictures(IMAGES, seed=seed), subject.pictures(IMAGES, seed=base)
    metric.reset()
    for size in sizes:
        rows, rest = rest[:size], rest[size:]
        update(subject, metric, images[rows], base_images[rows], rows)
    return metric.compute()


def require_alike(expected: float, found: float, fault: str) -> None:
    """Fault if two values differ by more than rounding; the message has places for both."""
    same = math.isclose(found, expected, rel_tol=ROUNDING, abs_tol=1e-6) or (math.isnan(found) and math.isnan(expected))
    require(same, fault.format(f"{expected:.6g}", f"{found:.6g}"))


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
    require(isinstance(subject.component.unit, str), f"unit is {subject.component.unit!r}, not a string")


@check(can_be_made)
def images_can_be_added(subject: MetricSubject) -> None:
    """`reset`, `update` and `compute` run, with base images only if `needs_base` is True."""
    measure(subject)


@check(images_can_be_added)
def the_value_is_a_float(subject: MetricSubject) -> None:
    """`compute` returns a Python float, which is written to files and compared."""
    value = measure(subject)
    require(type(value) is float, f"compute returns a {type(value).__name__}, not a float")


@check(the_value_is_a_float)
def the_value_is_finite(subject: MetricSubject) -> None:
    """Eight ordinary images have a finite value."""
    value = measure(subject)
    require(math.isfinite(value), f"the value of {IMAGES} ordinary images is {value}")


@check(the_value_is_finite)
def nothing_measured_is_nan(subject: MetricSubject) -> None:
    """Without images the value is NaN; a number would look like a measurement."""
    value = measure(subject, subject.fresh(), sizes=())
    require(math.isnan(value), f"compute without an image returns {value}, not NaN")


@check(the_value_is_finite)
def computing_twice_gives_the_same(subject: MetricSubject) -> None:
    """`compute` does not change the state: calling it twice returns the same value."""
    require_alike(measure(subject), subject.instance.compute(), "compute returns {}, then {}")


@check(the_value_is_finite)
def the_interval_is_two_limits_or_none(subject: MetricSubject) -> None:
    """`interval` returns None, or a finite lower and upper limit as Python floats, and leaves the value as it was."""
    value, bounds = measure(subject), subject.instance.interval()
    floats = isinstance(bounds, tuple) and [type(limit) for limit in bounds] == [float, float]
    fine = bounds is None or (floats and math.isfinite(sum(bounds)) and bounds[0] <= bounds[1])
    require(fine, f"interval returns {bounds!r}, not None or a tuple of a lower and an upper limit")
    require_alike(value, subject.instance.compute(), "compute returns {}, and {} after interval")


@check(the_value_is_finite)
def instances_agree(subject: MetricSubject) -> None:
    """Two instances with the same settings measure the same value: nothing is random."""
    values = []
    for seed in (8_461, 8_462):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            values.append(measure(subject, subject.fresh()))
    require_alike(values[0], values[1], "two instances of the same settings measure {} and {}")


@check(instances_agree)
def reset_forgets(subject: MetricSubject) -> None:
    """`reset` removes every image: one instance measures several stages in turn."""
    metric = subject.fresh()
    first, _, again = (measure(subject, metric, seed=seed) for seed in (0, 5, 0))
    require_alike(first, again, "the same images measure {}, and {} after a reset")


@check(reset_forgets)
def other_images_are_measured_anew(subject: MetricSubject) -> None:
    """Other images of the same prompts have the value that a new instance gives them: do not cache values."""
    measure(subject)
    other, expected = measure(subject, seed=5), measure(subject, subject.fresh(), seed=5)
    require_alike(other, expected, "other images of the same prompts measure {}, with a new instance {}")


@check(reset_forgets, computing_twice_gives_the_same)
def batches_add_up(subject: MetricSubject) -> None:
    """Images added in several batches have the value of one batch: a result's identity leaves the batch size out."""
    parts = measure(subject, sizes=(1, 4, 3))
    require_alike(measure(subject), parts, f"one batch of {IMAGES} measures {{}}, batches of 1, 4 and 3 {{}}")


@check(batches_add_up)
def an_empty_batch_changes_nothing(subject: MetricSubject) -> None:
    """Adding no image does not change the value: the last batch of a process may be empty."""
    padded = measure(subject, sizes=(0, IMAGES, 0))
    require_alike(measure(subject), padded, f"{IMAGES} images measure {{}}, with empty batches around them {{}}")


@check(reset_forgets)
def the_order_does_not_matter(subject: MetricSubject) -> None:
    """The value of a set of images does not depend on their order."""
    shuffled = measure(subject, order=(3, 6, 0, 7, 1, 5, 2, 4))
    require_alike(measure(subject), shuffled, "the images measure {}, in another order {}")


@check(reset_forgets)
def update_gives_scores_or_none(subject: MetricSubject) -> None:
    """`update` returns finite scores (B,) without gradient, for the intervals, or None for a set metric."""
    metric, images, base = subject.instance, subject.pictures(IMAGES), subject.pictures(IMAGES, seed=BASE)
    metric.reset()
    for n in (IMAGES, 1):
        scores = update(subject, metric, images[:n], base[:n], range(n))
        if scores is not None:
            require(bool(scores_of("update", scores, n).isfinite().all()), "update returns scores that are not finite")
            require(
                not scores.requires_grad, "update returns scores that require a gradient; use torch.no_grad or detach"
            )


@check(reset_forgets, not_for=unless("needs_base", True))
def base_images_matter(subject: MetricSubject) -> None:
    """A metric with `needs_base = True` uses the base images; keeping them costs memory."""
    same = math.isclose(measure(subject), measure(subject, base=9), rel_tol=1e-9)
    require(not same, "other base images give the same value; remove needs_base")


@check(images_can_be_added)
def images_are_left_alone(subject: MetricSubject) -> None:
    """Neither images nor base images are changed in place: the next metric uses the same tensors."""
    metric, images, base = subject.instance, subject.pictures(IMAGES), subject.pictures(IMAGES, seed=BASE)
    metric.reset()
    with images_kept("update", images, base):
        update(subject, metric, images, base, ALL)
        metric.compute()


@check(images_can_be_added)
def global_state_is_left_alone(subject: MetricSubject) -> None:
    """Draws no global random number and changes no global mode: every draw of a run has its own generator."""
    require_untouched(subject, lambda: measure(subject), "measuring")
