"""The parts of an update that a strategy uses: the last denoising steps, the decoder and the stage's reward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rilbench.contracts.components import Reward
from rilbench.contracts.errors import PluginError
from rilbench.contracts.expression import parse
from rilbench.contracts.pair import LoraPair
from rilbench.host.guard import blamed, images_kept, scores_of
from rilbench.model.adapters import AdapterGroup
from rilbench.model.text_to_image import TextToImage
from rilbench.training.checked import finite
from rilbench.training.config import TrainConfig
from rilbench.training.expressions import evaluated


@dataclass
class Batch:
    """Prompts, their negative prompts (empty: the model's) and z_N (B, C, h, w)."""

    prompts: list[str]
    negatives: list[str]
    z_N: Tensor

    def parts(self, size: int) -> Iterator[tuple[Batch, float]]:
        """At most `size` rows at a time and their share of the batch; 0 is all of them."""
        for start in range(0, len(self.prompts), size or len(self.prompts)):
            rows = slice(start, start + (size or len(self.prompts)))
            part = Batch(self.prompts[rows], self.negatives[rows], self.z_N[rows])
            yield part, len(part.prompts) / len(self.prompts)


@dataclass
class WeightedReward:
    """The reward of a stage: sum of weight x R over its items, each a reward's name or an expression over such names.

    What every reward returns is checked on every call.
    """

    rewards: Mapping[str, Reward]
    weights: Mapping[str, float]  # by item
    progress: float = 0.0  # the part of the stage that is done, for weights with a schedule

    def at(self, update: int, updates: int) -> WeightedReward:
        """The reward of an update, from 0."""
        if not any(parse(item).scheduled for item in self.weights):
            return self
        return replace(self, progress=update / max(1, updates - 1))

    def each(self, images: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Scores (B,) of every item."""

        def score(name: str, images: Tensor) -> Tensor:
            with images_kept(f"reward {name!r}", images), blamed(f"reward {name!r}"):
                scores = self.rewards[name](images, list(prompts))
            self._check(name, scores, images)
            return scores

        return {item: evaluated(parse(item), images, score, progress=self.progress) for item in self.weights}

    def weighted(self, scores: Mapping[str, Tensor]) -> Tensor:
        """sum of weight x R, (B,)."""
        return torch.stack([weight * scores[name] for name, weight in self.weights.items()]).sum(0)

    @staticmethod
    def _check(name: str, scores: Tensor, images: Tensor) -> None:
        scores_of(f"reward {name!r}", scores, len(images))
        if images.requires_grad and not scores.requires_grad:
            raise PluginError(f"reward {name!r} has no gradient with respect to the images, so it cannot be trained on")
        finite(f"reward {name!r}", scores)


@dataclass
class TrainingStep:
    """The `Step` of the contracts."""

    model: TextToImage
    group: AdapterGroup
    batch_reward: WeightedReward
    config: TrainConfig
    prompts: Sequence[str]
    negatives: Sequence[str]
    z: Tensor
    z_N: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    shares: dict[str, Tensor] = field(default_factory=dict)  # of several rewards in the scaled sum, scalars
    scores: Tensor | None = None  # (B,) unscaled, of the images the strategy rewarded

    @property
    def updates(self) -> int:
        return self.config.updates

    @property
    def pair(self) -> LoraPair:
        assert self.group.pair is not None
        return self.group.pair

    def rollout(self, pair: LoraPair) -> Tensor:
        with self.group.folded(pair):
            return self.model.rollout(self.z_N, self.prompts, negatives=self.negatives, stop=self.config.last_steps)

    def denoise(self, pair: LoraPair | None = None, z: Tensor | None = None) -> Tensor:
        z = self.z if z is None else z
        if self.model.config.gradient_checkpointing:
            self.model.backbone.checkpoint(self.group.checkpoint)
        # never folded, not even without gradient: two equal pairs must give the same bits
        with self.group.swapped(pair or self.pair):
            last = self.config.last_steps
            return self.model.finish(z, self.prompts, negatives=self.negatives, last_steps=last)

    def decode(self, z_0: Tensor) -> Tensor:
        return self.model.decode(z_0)

    def reward(self, images: Tensor) -> Tensor:
        by_name, scale = self.batch_reward.each(images, self.prompts), self.config.reward_scale
        scores = self.batch_reward.weighted(by_name)
        self.scores = scores.detach()
        if len(by_name) > 1:
            weights = {name: scale * weight for name, weight in self.batch_reward.weights.items() if weight}
            self.shares = {name: weight * by_name[name].mean() for name, weight in weights.items()}
        return scale * scores.mean()

    def rewards_by_name(self, images: Tensor) -> dict[str, Tensor]:
        scores = self.batch_reward.each(images, self.prompts)
        self.scores = self.batch_reward.weighted(scores).detach()
        return {name: values.mean() for name, values in scores.items()}

    def term(self, name: str, value: Tensor) -> Tensor:
        if not isinstance(value, Tensor) or value.ndim:
            raise PluginError(f"the term {name!r} of the loss is not a scalar tensor")
        self.terms[name] = value
        return value

    def values(self, loss: Tensor) -> dict[str, Tensor]:
        """What is logged: the loss, its terms and the mean reward."""
        values = {"loss": loss} | {f"loss/{name}": value for name, value in self.terms.items()}
        return values if self.scores is None else values | {"reward": self.scores.mean()}
