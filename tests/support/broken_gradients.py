"""Rewards whose gradient or memory breaks one demand each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from good_components import GoodModel, GoodReward, breaks
from torch import Tensor, nn


@breaks("there_is_a_gradient")
class Detached(GoodReward):
    """Cut off from the images."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images.detach(), prompts)


@breaks("the_gradient_is_finite")
class RootOfZero(GoodReward):
    """A finite score with a gradient of NaN."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts) + (images - images.detach()).mean((1, 2, 3)).sqrt()


@breaks("the_gradient_is_finite_at_the_edges")
class RootOfBlack(GoodReward):
    """The root of a mean, which is steep at zero."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).sqrt()


@breaks("the_gradient_is_not_zero")
class Rounded(GoodReward):
    """Whole numbers are flat."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (1000 * super().__call__(images, prompts)).round()


@breaks("gradients_do_not_mix_images")
class Leaking(GoodReward):
    """The mean of the batch is in the gradient and not in the score."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return scores + scores.mean() - scores.mean().detach()


@breaks("the_gradient_is_correct")
class TwiceTheGradient(GoodReward):
    """The right direction, twice as steep."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return 2 * scores - scores.detach()


@breaks("the_gradient_is_correct")
class TwiceTheGradientOfAModel(GoodModel):
    """The same in single precision."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return 2 * scores - scores.detach()


@breaks("the_gradient_is_correct")
class WithoutBlue(GoodModel):
    """The gradient of one channel is missing."""

    def score(self, images: Tensor) -> Tensor:
        return super().score(torch.cat([images[:, :2], images[:, 2:].detach()], 1))


@breaks("the_gradient_is_correct")
class ClaimsDouble(GoodReward):
    """Declares fp64 and rounds to single precision."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images.float(), prompts)


@breaks("parameters_are_frozen")
class Loose(GoodModel):
    """A layer that can be trained by mistake."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.layer.requires_grad_(True)


@breaks("parameters_are_frozen")
class LooseTensor(GoodReward):
    """A tensor that can be trained by mistake."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.scale * super().__call__(images, prompts)


class Holder:
    def __init__(self, module: nn.Module) -> None:
        self.parts = {"module": [module]}


@breaks("modules_are_in_eval_mode")
class InTraining(GoodModel):
    """A new layer is in train mode, here two objects deep."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.holder = Holder(self.layer.train())
        del self.layer

    def score(self, images: Tensor) -> Tensor:
        return self.holder.parts["module"][0](images.float().mean((2, 3))).tanh()[:, 0]


@breaks("no_graph_is_kept")
class KeepsTheLast(GoodReward):
    """Keeps the last scores, and with them the graph."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        self.last = super().__call__(images, prompts)
        return self.last


@breaks("memory_does_not_grow")
class KeepsAll(GoodReward):
    """Keeps every score as a tensor."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.history: list[Any] = []

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        self.history.append(self.kept(scores))
        return scores

    def kept(self, scores: Tensor) -> Any:
        return scores.detach()


@breaks("memory_does_not_grow")
class KeepsNumbers(KeepsAll):
    """Keeps every score as a number."""

    def kept(self, scores: Tensor) -> Any:
        return scores.tolist()


@breaks("memory_does_not_grow")
class KeepsInADeque(GoodReward):
    """Keeps every score in a deque, which sits in a slot."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.drawer = _Drawer()

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        self.drawer.content.append(scores.tolist())
        return scores


class _Drawer:
    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: deque[Any] = deque()


@breaks("memory_does_not_grow")
class KeepsOneRow(GoodReward):
    """Keeps every score in one tensor."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.history = torch.zeros(0)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        self.history = torch.cat([self.history, scores.detach()])
        return scores


@breaks("every_image_of_a_large_batch_has_its_gradient")
class CutAfterTheFourth(GoodReward):
    """The gradient of the first four images only."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(torch.cat([images[:4], images[4:].detach()]), prompts)


@breaks("every_image_of_a_large_batch_has_its_gradient")
class ScaledWhenMany(GoodReward):
    """Scores are right, their gradient is that of a mean once there are more than eight."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return scores / 9 + (scores * 8 / 9).detach() if len(images) > 8 else scores
