"""The three public contracts, `Reward`, `Metric` and `Strategy`, and the `Stage` a strategy plans.

A component declares its settings as a frozen dataclass in `Settings`; the engine validates the user's values and
passes an instance, with the device, to the constructor. Contracts only grow: new arguments are keyword-only with a
default, so a component written for the API version before keeps working.

API version 2 added `Reward.uses_prompts`, `Reward.precision` and `Component.files`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench.model.adapters import LoraPair
    from rilbench.remote import NeededFile

API_VERSION = 2
SUPPORTED = (API_VERSION - 1, API_VERSION)


@dataclass(frozen=True)
class NoSettings:
    """For a component without settings."""


class Component:
    """What the three contracts share.

    api_version: the version of this API a component was written for; write the number down in a published plugin.
    """

    api_version: ClassVar[int] = API_VERSION
    Settings: ClassVar[type] = NoSettings

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        self.settings = settings
        self.device = device

    @classmethod
    def files(cls, settings: Any) -> Sequence[NeededFile]:
        """The published files an instance with these settings reads, for `rilbench fetch`; nothing is loaded for it.

        By default those that settings name by reference (`rilbench.remote`).
        """
        from rilbench.remote import named

        return named(settings)


class Reward(Component, ABC):
    """Scores images: `reward(images, prompts) -> scores`, higher is better.

    Models inside must be frozen and in eval mode. `metrics` names the metrics that report the reward's success in
    tables besides its own mean, which is always measured. `uses_prompts` is False when the prompts are not looked at.
    `precision` is the finest in which images are scored: fp64 when nothing is rounded to less on the way, as in closed
    forms; gradients are checked in it.
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
    """Whether `update` also takes `base_images`, the untouched model's images of the same prompts and noise."""

    @abstractmethod
    def reset(self) -> None:
        """Forget every image."""

    @abstractmethod
    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor | None:
        """Add images (B, 3, H, W) in [0, 1]; return (B,) scores of single images, None for set metrics such as FID.

        B = 0 changes nothing.
        """

    @abstractmethod
    def compute(self) -> float:
        """The metric over all images; NaN when there are too few of them."""


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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the result: a new adapter pair trained on weighted rewards, or a merge of earlier stages.

    rewards: reward name to its weight in the training reward; empty for a merge.
    start: train a new pair on top of the stage before (`previous`) or of the untouched base model (`base`), or go on
        with the pair of the stage before (`continue`), which the trained one replaces.
    by: the strategy that trains the stage; None is the one that planned it.
    merge: for a merge, the index of an earlier stage of the plan (0 is the first trained one) to its coefficient.
    average: what a merge averages: the weight changes A_t B_t (`changes`), or A_t and B_t each (`factors`).
    """

    rewards: Mapping[str, float] = field(default_factory=dict)
    start: Literal["previous", "base", "continue"] = "previous"
    by: str | None = None
    merge: Mapping[int, float] = field(default_factory=dict)
    average: Literal["changes", "factors"] = "changes"

    @property
    def label(self) -> str:
        """What tables call the stage."""
        return "+".join(self.rewards) if self.rewards else "merge"


class Step(Protocol):
    """One training step as a strategy sees it: the rollout is done, the last K denoising steps are not."""

    prompts: Sequence[str]
    z: Tensor
    """The latent the last K steps start from (B, C, h, w), without gradient; z_1 in the paper's Alg. 1 when K = 1."""
    z_N: Tensor
    """The noise the rollout started from (B, C, h, w)."""

    @property
    def pair(self) -> LoraPair:
        """The pair in training, A_t and B_t."""

    def rollout(self, pair: LoraPair) -> Tensor:
        """z_N to the latent before the last K steps, as z but by the model with the given pair; without gradient."""

    def denoise(self, pair: LoraPair | None = None, z: Tensor | None = None) -> Tensor:
        """z to z_0 (B, C, h, w) by the model with the given pair in place of the one in training."""

    def decode(self, z_0: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W) in [0, 1]."""

    def reward(self, images: Tensor) -> Tensor:
        """The stage's weighted and scaled mean reward of images, a scalar."""

    def rewards(self, images: Tensor) -> dict[str, Tensor]:
        """The mean of each of the stage's rewards, neither weighted nor scaled, scalars by name."""

    def term(self, name: str, value: Tensor) -> Tensor:
        """Record a scalar term of the loss, so that its value and gradient norm are logged; returns it."""


class Strategy(Component):
    """Decides which stages a sequence of rewards becomes and what loss trains them."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        """The stages of a sequence of reward names; one stage each, on top of each other, by default."""
        return [Stage(rewards={name: 1.0}) for name in rewards]

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        """Called before the first step of a stage with the new pair."""

    def loss(self, step: Step) -> Tensor:
        """The scalar to minimise, a mean over images. A strategy whose stages are all trained by others needs none.

        It runs once for every part of a batch that `train.micro_batch` cuts, so it must not change the strategy: what
        an update changes belongs in `combine` and `after_update`, which run once an update.
        """
        raise NotImplementedError(f"{type(self).__name__} plans stages for other strategies and trains none itself")

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient (P,) of an update, made of those of the loss's terms; without it the gradient of the loss.

        gradients: of each term that `loss` recorded with `step.term`, over the whole batch, with respect to all P
            numbers of `step.pair.factors` in one row. A strategy that implements this has a backward pass for each
            term, and what `loss` returns is logged only. It runs once an update, so it may keep averages.
        """
        raise NotImplementedError(f"{type(self).__name__} takes the gradient of its loss")

    def after_update(self, step: Step) -> None:
        """Called after each optimiser step, with the step of the batch's last part."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that must survive a stop in the middle of a stage."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take `state` back; called after `begin`."""

    def legacy(self) -> dict[str, Tensor]:
        """Tensors that the next stage of the sequence needs; asked for at the end of a stage."""
        return {}

    def inherit(self, legacy: Mapping[str, Tensor]) -> None:
        """Take the `legacy` of the stage before, if it left one; called after `begin`."""
