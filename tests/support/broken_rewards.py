"""Rewards whose scores break one demand each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from good_components import GoodModel, GoodReward, breaks, value
from torch import Tensor


@breaks("declarations_are_valid")
class OneMetric(GoodReward):
    """A string where a tuple belongs."""

    metrics = "png_kb"  # type: ignore[assignment]


@breaks("declarations_are_valid")
class Vague(GoodReward):
    """A precision that does not exist."""

    precision = "double"  # type: ignore[assignment]


@breaks("there_is_one_score_an_image")
class ScoreByChannel(GoodReward):
    """Three scores an image."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((2, 3))


@breaks("a_batch_of_one_works")
class Squeezed(GoodReward):
    """One squeeze too many."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).squeeze()


@breaks("scores_are_on_the_device")
class Elsewhere(GoodReward):
    """Scores on another device."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).to("meta")


@breaks("scores_are_finite")
class LogOfNegative(GoodReward):
    """NaN everywhere."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (super().__call__(images, prompts) - 100).log()


@breaks("scores_are_finite_at_the_edges")
class LogOfBlack(GoodReward):
    """Minus infinity for black images."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).log()


@breaks("scores_are_deterministic")
class Noisy(GoodReward):
    """Noise from a generator of its own."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.noise = torch.Generator().manual_seed(0)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts) + torch.randn(len(images), generator=self.noise)


@breaks("instances_agree")
class RandomWeights(GoodReward):
    """Weights that nobody loaded."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.weight = float(1 + torch.rand(()))

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.weight * super().__call__(images, prompts)


@breaks("images_are_left_alone")
class InPlace(GoodReward):
    """Normalises the caller's images when no gradient forbids it."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        if not images.requires_grad:
            images.sub_(0.5)
        return scores


@breaks("scores_do_not_depend_on_the_batch")
class Relative(GoodReward):
    """Half the mean of the batch is taken away."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return scores - 0.5 * scores.mean()


@breaks("prompts_change_the_scores")
class Deaf(GoodReward):
    """Does not say that it ignores prompts."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return value(images)


@breaks("prompts_do_not_change_the_scores")
class Eavesdropper(GoodReward):
    """Says that it ignores prompts, and does not."""

    uses_prompts = False


@breaks("half_precision_images_work")
class SinglePrecision(GoodModel):
    """A float32 layer is given the images as they are."""

    def score(self, images: Tensor) -> Tensor:
        return self.layer(images.mean((2, 3))).tanh()[:, 0]


@breaks("global_state_is_left_alone")
class Seeds(GoodReward):
    """Seeds the global generator, with the same number every time."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        torch.manual_seed(0)
        return super().__call__(images, prompts)


@breaks("global_state_is_left_alone")
class TakesAllThreads(GoodReward):
    """Sets the number of threads when it is made."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        torch.set_num_threads(2)


@breaks("global_state_is_left_alone")
class DrawsGlobally(GoodReward):
    """Draws a global random number and drops it."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        torch.rand(())
        return super().__call__(images, prompts)


@breaks("scores_do_not_depend_on_the_batch")
class FirstEight(GoodReward):
    """Looks at eight images; the others have the score of the last."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return torch.cat([scores[:8], scores[7:8].expand(max(len(scores) - 8, 0))])


@breaks("other_images_are_scored_anew")
class RemembersScores(GoodReward):
    """The score of a prompt's first image is that of all of its images."""

    differentiable = False

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.known: dict[str, float] = {}

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images.detach(), prompts).tolist()
        return torch.tensor([self.known.setdefault(p, s) for p, s in zip(prompts, scores, strict=True)])
