"""The three public contracts, `Reward`, `Metric` and `Strategy`, and the `Stage` a strategy plans.

A component declares its settings as a frozen dataclass in `Settings`; the engine validates the user's values and
passes an instance, with the device, to the constructor. Contracts only grow: new arguments are keyword-only with a
default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rilbench.contracts.files import NeededFile, named

if TYPE_CHECKING:
    from torch import Tensor

API_VERSION = 1


@dataclass(frozen=True)
class NoSettings:
    """For a component without settings."""


class Component:
    """What the three contracts share.

    api_version: the version of this API that a component was written for; a published plugin sets it.
    """

    api_version: ClassVar[int] = API_VERSION
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = device

    @classmethod
    def files(cls, settings: Any) -> Sequence[NeededFile]:
        """The published files that an instance with these settings reads, for `rilbench fetch`; it loads nothing.

        By default the files that settings name by reference (`rilbench.contracts.files`).
        """
        return named(settings)


class Reward(Component, ABC):
    """Scores images: `reward(images, prompts) -> scores`, higher is better.

    Models inside must be frozen and in eval mode. `metrics` names metrics that tables show for this reward in addition
    to its own mean, which is always measured. `uses_prompts` is False if the scores do not depend on the prompts.
    `precision` is the precision the scores are computed in: fp64 if no step rounds to less, as in closed formulas. The
    conformance checks test gradients in it.
    """

    differentiable: ClassVar[bool] = True
    uses_prompts: ClassVar[bool] = True
    precision: ClassVar[Literal["fp32", "fp64"]] = "fp32"
    metrics: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score images (B, 3, H, W), float in [0, 1], made for B prompts: (B,), finite, differentiable in images."""


class Metric(Component, ABC):
    """Measures a set of images in batches. `compute` covers everything since the last `reset`."""

    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = ""
    needs_base: ClassVar[bool] = False
    """Whether `update` also receives `base_images`, the base model's images of the same prompts and noise."""

    @abstractmethod
    def reset(self) -> None:
        """Remove every image."""

    @abstractmethod
    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor | None:
        """Add images (B, 3, H, W) in [0, 1]; return (B,) scores of single images, None for set metrics such as FID.

        B = 0 changes nothing.
        """

    @abstractmethod
    def compute(self) -> float:
        """The metric over all images; NaN if there are too few of them."""

    def interval(self) -> tuple[float, float] | None:
        """95 % interval of `compute` over prompts, for a set metric; None if it has none.

        Images of one prompt are not independent. Not called for a metric that has scores of single images.
        """
        return None


class MeanMetric(Metric):
    """A metric that is the mean of a score per image: implement `score`."""

    higher_is_better = True

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.reset()

    def reset(self) -> None:
        self._sum, self._count = 0.0, 0

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        if not len(images):
            return images.new_zeros(0)  # models cannot take an empty batch
        scores = self.score(images, prompts, base_images=base_images)
        self._sum += float(scores.double().sum())
        self._count += len(scores)
        return scores

    def compute(self) -> float:
        return self._sum / self._count if self._count else float("nan")

    @abstractmethod
    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        """Scores (B,) of images (B, 3, H, W) in [0, 1]."""
