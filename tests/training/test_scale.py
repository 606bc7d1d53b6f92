"""The unit of a reward does not matter: a factor of the whole loss changes no step."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import toy
from torch import Tensor

from rilbench.contracts.components import NoSettings, Reward
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench.training.config import TrainConfig
from rilbench.training.gradient import clip
from rilbench.training.optimiser import make_optimiser
from rilbench.training.stage import StageTraining
from rilbench.training.step import WeightedReward
from rilbench_baseline import Baseline, BaselineSettings
from rilbench_joint import Joint, JointSettings
from rilbench_rid import RID, RIDSettings

PROMPTS = ["a red circle", "a blue ring"]
UPDATES = 4


class Scaled(Reward):
    """Another reward in another unit."""

    def __init__(self, reward: Reward, factor: float) -> None:
        super().__init__(NoSettings())
        self.reward, self.factor = reward, factor

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.factor * self.reward(images, prompts)


def steps(pipeline: Path, strategy: Strategy, factor: float, folder: Path, **train: float) -> list[Tensor]:
    """What each update of a stage changes, with rewards times a factor."""
    model = TextToImage.load(ModelConfig(path=str(pipeline), steps=2, device="cpu"))
    group = adapter_group(model.network, targets=("to_q", "to_v"))
    group.load_chain([(toy.random_pair(group, 1), 1.0)])
    rewards: dict[str, Reward] = {"red": toy.Redness(NoSettings()), "dark": toy.Darkness(NoSettings())}
    pair = toy.random_pair(group, 2)
    states = [row(pair)]
    StageTraining(
        model=model,
        group=group,
        strategy=strategy,
        stage=Stage(rewards={"red": 1.0, "dark": 0.5}),
        index=2,
        reward=WeightedReward({n: Scaled(r, factor) for n, r in rewards.items()}, {"red": 1.0, "dark": 0.5}),
        config=TrainConfig(samples=4 * UPDATES, batch_size=4, **train),
        prompts=[Prompt(text) for text in PROMPTS],
        rank=2,
        init="paper",
        seed=0,
        checkpoint=folder / "checkpoint",
        initial=pair,
        on_update=lambda update, total, values: states.append(row(group.pair)),
    ).run()
    return [after - before for before, after in itertools.pairwise(states)]


def row(pair: LoraPair | None) -> Tensor:
    assert pair is not None
    return torch.cat([factor.detach().flatten() for factor in pair.factors])


def worst(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


def strategies(factor: float) -> list[Strategy]:
    return [
        Baseline(BaselineSettings()),
        RID(RIDSettings(lam=1e4 * factor)),  # lambda counts relative to the reward
        Joint(JointSettings(balance="gradients")),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["baseline", "rid", "joint"])
def test_a_factor_changes_no_step(pipeline: Path, tmp_path: Path, which: int, factor: float) -> None:
    plain = steps(pipeline, strategies(1.0)[which], 1.0, tmp_path)
    scaled = steps(pipeline, strategies(factor)[which], factor, tmp_path)
    assert len(plain) == UPDATES
    assert worst(scaled, plain) < 0.01


@pytest.mark.slow
def test_a_large_eps_and_a_norm_that_clips_would_show(pipeline: Path, tmp_path: Path) -> None:
    """What the defaults were: constants that only make sense for gradients of one size."""
    for train in ({"eps": 1e-8}, {"clip_grad": 1e-4}):
        small, large = (steps(pipeline, strategies(1)[0], factor, tmp_path, **train) for factor in (1e-3, 1e3))
        assert worst(small, large) > 0.01


def test_gradients_a_thousand_times_smaller_than_those_of_any_reward(pipeline: Path) -> None:
    """One step of AdamW against the sign of the gradient, which it is in exact arithmetic."""
    gradient = 10.0 ** torch.arange(-13, -2).float()
    weight = torch.zeros(len(gradient), requires_grad=True)
    weight.grad = gradient.clone()
    make_optimiser([weight], TrainConfig(lr=1.0, weight_decay=0.0)).step()
    assert torch.allclose(weight, torch.full_like(gradient, -1.0), atol=0.01)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_gradient_is_clipped_to_the_norm_that_is_set(scale: float) -> None:
    weight = torch.zeros(2, requires_grad=True)
    for longest, expected in ((1.0 * scale, 1.0), (10.0 * scale, 5.0)):
        weight.grad = torch.tensor([3.0, 4.0]) * scale
        clip([weight.grad], longest, weight.grad.norm())
        assert weight.grad.norm().item() == pytest.approx(expected * scale, rel=1e-6)
