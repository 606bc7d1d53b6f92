"""Components that break no demand, and the mark of those that break one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rilbench import MeanMetric, Metric, Reward, Stage, Step, Strategy
from rilbench.contracts.components import Component
from rilbench.contracts.pair import LoraPair


def breaks(check: str) -> Callable[[type[Any]], type[Any]]:
    """Say which check a component fails, and no other."""

    def mark(component: type[Any]) -> type[Any]:
        component.breaks = check
        return component

    return mark


def value(images: Tensor) -> Tensor:
    return images.pow(2).mean((1, 2, 3))


def wish(prompts: Sequence[str], images: Tensor) -> Tensor:
    return torch.tensor([1.0 + sum(map(ord, p)) % 7 for p in prompts], dtype=images.dtype)


class GoodReward(Reward):
    """Mean square times a number of the prompt."""

    precision = "fp64"

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return wish(prompts, images) * value(images)


class GoodModel(GoodReward):
    """In single precision with a frozen layer, prompts remembered, and a bound method as an attribute."""

    precision = "fp32"

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.layer = layer().eval().requires_grad_(False)
        self.known: dict[str, Tensor] = {}
        self.measure = self.score

    def score(self, images: Tensor) -> Tensor:
        return self.layer(images.float().mean((2, 3))).tanh()[:, 0]

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            self.known.setdefault(prompt, wish([prompt], images.float()))
        return torch.cat([self.known[p] for p in prompts]) * self.measure(images)


class Reduction(Enum):
    MEAN = 1
    SUM = 2


@dataclass(frozen=True)
class Options:
    """Settings of every kind that can be stored."""

    reduction: Reduction = Reduction.MEAN
    file: Path = Path("head.pth")
    text: str = "a/long, long " * 100
    weights: dict[str, float] = field(default_factory=lambda: {"mean": 1.0})
    nested: tuple[tuple[int, ...], ...] = ((1, 2), (3,))


class OfManySettings(GoodReward):
    """The same with settings."""

    Settings = Options


def layer() -> nn.Linear:
    made = nn.Linear(3, 1)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[0.5, -0.2, 0.1]]))
        made.bias.fill_(0.1)
    return made


class GoodMetric(MeanMetric):
    """Mean square times a number of the prompt."""

    higher_is_better = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return wish(prompts, images) * value(images)


class GoodComparison(GoodMetric):
    """Likeness to the base."""

    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        assert base_images is not None
        return (images - base_images).abs().mean((1, 2, 3))


class GoodSet(Metric):
    """Deviation over the whole set."""

    higher_is_better = True

    def reset(self) -> None:
        self.means: list[Tensor] = []

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor | None:
        self.means.append(value(images))
        return None

    def compute(self) -> float:
        return float(torch.cat(self.means).std()) if self.means else float("nan")


class Planner(Strategy):
    """Leaves the training to another."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards={name: 1.0}, by="baseline") for name in rewards]


class GoodStrategy(Strategy):
    """The plain gradient of the reward, with a momentum that is saved."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.teacher = pair.copy()

    def loss(self, step: Step) -> Tensor:
        pull = sum((f - t).pow(2).sum() for f, t in zip(step.pair.factors, self.teacher.factors, strict=True))
        return -step.reward(step.decode(step.denoise())) + 0.1 * pull

    def after_update(self, step: Step) -> None:
        self.teacher.lerp_(step.pair, 0.5)

    def state(self) -> dict[str, Tensor]:
        return self.teacher.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teacher = LoraPair.from_state(state)


class GoodCombination(GoodStrategy):
    """The gradients of two terms, brought to the running average of their norms."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.norm = torch.zeros(())

    def loss(self, step: Step) -> Tensor:
        images = step.decode(step.denoise())
        return step.term("reward", -step.reward(images)) + step.term("light", -images.mean())

    def combine(self, gradients: Mapping[str, Tensor]) -> Tensor:
        self.norm = (self.norm + torch.stack([g.norm() for g in gradients.values()]).mean()) / 2
        return torch.stack([g / g.norm() for g in gradients.values()]).sum(0) * self.norm

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "norm": self.norm}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.norm = state["norm"]
        super().load_state({key: value for key, value in state.items() if key != "norm"})


GOOD: list[type[Component]] = [
    GoodReward,
    GoodModel,
    OfManySettings,
    GoodMetric,
    GoodComparison,
    GoodSet,
    Planner,
    GoodStrategy,
    GoodCombination,
]
