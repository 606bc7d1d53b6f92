"""Rewards as columns of the result: a reward's own mean, of the images or of perturbed ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rilbench.contracts.components import MeanMetric, NoSettings, Reward
from rilbench.host.guard import blamed, scores_of


class RewardMetric(MeanMetric):
    """A reward's own mean as a metric."""

    def __init__(self, name: str, reward: Reward) -> None:
        super().__init__(NoSettings())
        self.name, self.reward = name, reward

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        with blamed(f"reward {self.name!r}"):
            return scores_of(f"reward {self.name!r}", self.reward(images, list(prompts)), len(images))


class Perturbed(RewardMetric):
    """A reward's own mean on perturbed images."""

    def __init__(self, name: str, reward: Reward, perturbation: str) -> None:
        super().__init__(name, reward)
        self.perturbation = perturbation

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        from rilbench.evaluation.perturb import PERTURBATIONS

        return super().score(PERTURBATIONS[self.perturbation](images), prompts)
