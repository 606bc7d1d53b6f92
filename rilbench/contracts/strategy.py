"""The `Strategy` contract: the `Stage` it plans and the training `Step` it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from rilbench.contracts.components import Component

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench.contracts.pair import LoraPair


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One row of the result: a new adapter pair trained on weighted rewards, or a merge of earlier stages.

    rewards: reward name, or expression over names, to its weight in the training reward; empty for a merge.
    start: train a new pair on top of the previous stage (`previous`) or of the base model (`base`; in a run that
        continues another one, of the model that it starts from), or continue to train the pair of the previous stage
        (`continue`), which the result replaces.
    by: the strategy that trains the stage; None for the one that planned it.
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
        """The name of the stage in tables."""
        return "+".join(self.rewards) if self.rewards else "merge"


class Step(Protocol):
    """One training step, after the rollout and before the last K denoising steps."""

    prompts: Sequence[str]
    z: Tensor
    """The latent the last K steps start from (B, C, h, w), without gradient; z_1 in the paper's Alg. 1 when K = 1."""
    z_N: Tensor
    """The noise the rollout started from (B, C, h, w)."""

    @property
    def updates(self) -> int:
        """How many updates the stage has."""

    @property
    def pair(self) -> LoraPair:
        """The pair in training, A_t and B_t."""

    def rollout(self, pair: LoraPair) -> Tensor:
        """z_N to the latent before the last K steps, like z but with the given pair; without gradient."""

    def denoise(self, pair: LoraPair | None = None, z: Tensor | None = None) -> Tensor:
        """z to z_0 (B, C, h, w), with the given pair in place of the one in training."""

    def decode(self, z_0: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W) in [0, 1]."""

    def reward(self, images: Tensor) -> Tensor:
        """The stage's weighted and scaled mean reward of images, a scalar."""

    def rewards_by_name(self, images: Tensor) -> dict[str, Tensor]:
        """Name to mean of each of the stage's rewards, scalars, neither weighted nor scaled."""

    def term(self, name: str, value: Tensor) -> Tensor:
        """Record a scalar term of the loss and return it; its value and gradient norm are logged."""


class Strategy(Component):
    """Plans the stages for a sequence of rewards and defines the loss that trains them.

    remedies: for a term of the loss, what to change if its gradient is too small to matter; a warning quotes it.
    """

    remedies: ClassVar[Mapping[str, str]] = {}

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        """The stages for a sequence of reward names; by default one for each reward, on top of the previous one."""
        return [Stage(rewards={name: 1.0}) for name in rewards]

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        """Called before the first step of a stage with the new pair."""

    def loss(self, step: Step) -> Tensor:
        """The scalar to minimise, a mean over images. A strategy whose stages are all trained by others has none.

        It runs once for each part of a batch (`train.micro_batch`), so it must not change the strategy. State changes
        belong in `combine` and `after_update`, which run once per update.
        """
        raise NotImplementedError(f"{type(self).__name__} plans stages for other strategies and trains none itself")

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient (P,) of an update, combined from those of the loss's terms; by default the gradient of the loss.

        gradients: of each term that `loss` recorded with `step.term`, over the whole batch, with respect to all P
            numbers of `step.pair.factors` in one row. A strategy that implements this has a backward pass for each
            term, and what `loss` returns is logged only. It runs once per update, so it may keep averages.
        """
        raise NotImplementedError(f"{type(self).__name__} takes the gradient of its loss")

    def after_update(self, step: Step) -> None:
        """Called after each optimiser step, with the step of the batch's last part."""

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep when a stage is interrupted."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore `state`; called after `begin`."""

    def carry(self) -> dict[str, Tensor]:
        """Tensors for the next stage of the sequence; called at the end of a stage."""
        return {}

    def load_carry(self, carry: Mapping[str, Tensor]) -> None:
        """Take the `carry` of the previous stage; called after `begin`, unless it was empty."""
