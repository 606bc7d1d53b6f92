"""A tiny random pipeline, closed-form components and runs with them, so that most tests need no trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import torch
from torch import Tensor

from rilbench import MeanMetric, Reward, Stage, Step, Strategy, hookimpl
from rilbench.contracts.pair import LoraPair
from rilbench.engine import run as engine
from rilbench.engine.config import RunConfig, load
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench.host.discovery import from_entry_point
from rilbench.model.adapters import AdapterGroup
from rilbench.testing.tiny import save_pipeline as save_pipeline


class Redness(Reward):
    """Mean of the red channel."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images[:, 0].mean((1, 2))


class Darkness(Reward):
    """Minus the mean square."""

    metrics = ("toy_contrast",)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return -images.pow(2).mean((1, 2, 3))


class Blueness(Reward):
    """Mean of the blue channel."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images[:, 2].mean((1, 2))


class NaNReward(Reward):
    """NaN in training, so that measuring the base model still works."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((1, 2, 3)) * (float("nan") if images.requires_grad else 1.0)


class WrongShape(Reward):
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((2, 3)) if images.requires_grad else images.mean((1, 2, 3))


class NoGradient(Reward):
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.detach().mean((1, 2, 3))


class Contrast(MeanMetric):
    higher_is_better = False

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return images.std((1, 2, 3))


class Likeness(MeanMetric):
    higher_is_better = True
    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        assert base_images is not None
        return 1 - (images - base_images).abs().mean((1, 2, 3))


class Forgetful(Strategy):
    """Plans nothing for the last reward."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards={name: 1.0}) for name in rewards[:-1]]

    def loss(self, step: Step) -> Tensor:
        return -step.reward(step.decode(step.denoise()))


class BrokenHook:
    @hookimpl
    def stage_finished(self, stage: int) -> None:
        raise RuntimeError("no disk in the drive")


TOYS = {
    "rilbench.rewards": {
        "red": "Redness",
        "dark": "Darkness",
        "blue": "Blueness",
        "nan": "NaNReward",
        "shape": "WrongShape",
        "flat": "NoGradient",
    },
    "rilbench.metrics": {"toy_contrast": "Contrast", "likeness": "Likeness"},
    "rilbench.strategies": {"forgetful": "Forgetful"},
}


def catalog(*more: EntryPoint) -> Catalog:
    """The installed components and the toys above."""
    toys = [EntryPoint(n, f"toy:{c}", group) for group, names in TOYS.items() for n, c in names.items()]
    return Catalog([from_entry_point(point) for point in (*toys, *more)])


def config(folder: Path, *overrides: str) -> RunConfig:
    """A run of seconds on the pipeline in `folder/pipeline`, with its store in `folder/runs`."""
    file = folder / "toy.yaml"
    prompts = folder / "prompts.txt"
    if not file.exists():
        prompts.write_text("a red circle\n\na blue square\na green ring\n")
        file.write_text(
            f"""
rewards: [red, dark]
store: {folder}/runs
tracking: false
model: {{path: {folder}/pipeline, steps: 4, guidance: 2.0, device: cpu}}
adapter: {{rank: 2}}
train: {{samples: 8, batch_size: 2, lr: 0.05, prompts: {prompts}}}
evaluate: {{prompts: {prompts}, images_per_prompt: 2, batch_size: 4, metrics: [likeness], pictures: 2}}
"""
        )
    return load(str(file), overrides)


def run(folder: Path, *overrides: str) -> engine.Outcome:
    """The run that `config` describes, done."""
    return engine.run(config(folder, *overrides), catalog=catalog(), reporter=Reporter(quiet=True))


def random_pair(group: AdapterGroup, seed: int) -> LoraPair:
    """A pair of rank 2 away from zero."""
    generator = torch.Generator().manual_seed(seed)
    pair = LoraPair.initialised(group.layers, rank=2, init="paper", generator=generator)
    for factor in pair.factors:
        factor.copy_(0.3 * torch.randn(factor.shape, generator=generator))
    return pair
