"""Metrics that break one demand each."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from good_components import GoodMetric, GoodSet, breaks, value
from torch import Tensor

from rilbench.contracts.components import MeanMetric


@breaks("the_direction_is_declared")
class NoDirection(GoodSet):
    """A direction that is no bool."""

    higher_is_better = "yes"  # type: ignore[assignment]


@breaks("the_direction_is_declared")
class TakesTheDefault(MeanMetric):
    """The direction of its base class, which may be the wrong one."""

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return value(images)


@breaks("the_unit_is_a_string")
class NoUnit(GoodMetric):
    """A unit that is no string."""

    unit = None  # type: ignore[assignment]


@breaks("images_can_be_added")
class HiddenNeed(GoodMetric):
    """Uses base images without asking for them."""

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return value(images - base_images)  # type: ignore[operator]


@breaks("the_value_is_a_float")
class GivesATensor(GoodMetric):
    """A tensor instead of a number."""

    def compute(self) -> float:
        return torch.tensor(super().compute())  # type: ignore[return-value]


@breaks("the_interval_is_two_limits_or_none")
class GivesAMargin(GoodSet):
    """Half the width in place of the limits."""

    def interval(self) -> tuple[float, float] | None:
        return 0.1  # type: ignore[return-value]


@breaks("the_value_is_finite")
class NeverEnough(GoodMetric):
    """NaN whatever there is."""

    def compute(self) -> float:
        return float("nan")


@breaks("nothing_measured_is_nan")
class ZeroForNothing(GoodMetric):
    """A number without a measurement."""

    def compute(self) -> float:
        return super().compute() if self._count else 0.0


@breaks("computing_twice_gives_the_same")
class Emptied(GoodMetric):
    """Computing forgets half."""

    def compute(self) -> float:
        result = super().compute()
        self._sum /= 2
        return result


@breaks("instances_agree")
class RandomMetric(GoodMetric):
    """Weights that nobody loaded."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.weight = float(1 + torch.rand(()))

    def compute(self) -> float:
        return self.weight * super().compute()


@breaks("reset_forgets")
class Unforgetting(GoodMetric):
    """Forgets only at first."""

    def reset(self) -> None:
        if not hasattr(self, "_sum"):
            super().reset()


@breaks("batches_add_up")
class MeanOfMeans(GoodMetric):
    """The mean over batches, whatever their sizes."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = self.score(images, prompts)
        self._sum, self._count = self._sum + float(scores.mean()), self._count + 1
        return scores


@breaks("an_empty_batch_changes_nothing")
class CountsCalls(GoodMetric):
    """Takes a batch for at least one image."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        self._count += not len(images)
        return super().update(images, prompts)


@breaks("the_order_does_not_matter")
class LaterCountsMore(GoodMetric):
    """Each image counts more than the one before."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = self.score(images, prompts)
        for score in scores.tolist():
            self._count += 1
            self._sum += self._count * score
        return scores


@breaks("update_gives_scores_or_none")
class UpdateByChannel(GoodMetric):
    """Three scores an image."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        super().update(images, prompts)
        return images.mean((2, 3))


@breaks("update_gives_scores_or_none")
class UpdateWithGradient(GoodMetric):
    """Scores with a graph."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        with torch.enable_grad():
            return super().update(images, prompts) * torch.ones((), requires_grad=True)


@breaks("base_images_matter")
class UselessNeed(GoodMetric):
    """Asks for base images and leaves them."""

    needs_base = True


@breaks("images_are_left_alone")
class MetricInPlace(GoodMetric):
    """Normalises the caller's images."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = super().update(images, prompts)
        images.sub_(0.5)
        return scores


@breaks("global_state_is_left_alone")
class MetricDrawsGlobally(GoodMetric):
    """Draws a global random number and drops it."""

    def compute(self) -> float:
        random.random()
        return super().compute()


@breaks("other_images_are_measured_anew")
class RemembersScores(GoodMetric):
    """The score of a prompt's first image is that of all of its images."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.known: dict[str, Tensor] = {}

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = super().score(images, prompts, base_images=base_images)
        return torch.stack([self.known.setdefault(p, s.clone()) for p, s in zip(prompts, scores, strict=True)])
