"""A tiny model on which a strategy can train stages within a second, as the engine trains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from rilbench.contracts.components import NoSettings, Reward
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.model.adapters import AdapterGroup
from rilbench.model.attach import adapter_group
from rilbench.model.backbones.stable_diffusion import StableDiffusion
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.testing import inputs, tiny
from rilbench.training.config import TrainConfig
from rilbench.training.stage import StageTraining
from rilbench.training.step import TrainingStep, WeightedReward
from rilbench.training.update import begin_step, draw_batch

STAGE = Stage(rewards={"warmth": 1.0})
OnUpdate = Callable[[int], None]


class Warmth(Reward):
    """Mean of red minus mean of blue, a closed form in [-1, 1]."""

    uses_prompts = False
    precision = "fp64"

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (images[:, 0] - images[:, 2]).mean((1, 2))


@dataclass
class Bench:
    """A fresh tiny model with an adapter group."""

    model: TextToImage
    group: AdapterGroup
    reward: Reward

    @classmethod
    def on(cls, device: str) -> Bench:
        """The same one each time."""
        config = ModelConfig(path="tiny", device=device, steps=2, guidance=1.0)
        model = TextToImage(StableDiffusion(SimpleNamespace(**tiny.parts()), config, device))
        return cls(model, adapter_group(model.network, targets=("to_q", "to_v")), Warmth(NoSettings(), device=device))

    def step(self, strategy: Strategy) -> TrainingStep:
        """A stage's first step, after `begin`."""
        initial = LoraPair.initialised(self.group.layers, rank=2, init="paper", generator=generator_for("init", 0, 1))
        pair = initial.trainable()
        self.group.load_chain([])
        self.group.start(pair)
        strategy.begin(STAGE, pair)
        batch = draw_batch(inputs.PROMPTS, self.model.latent_shape, key=(0, 1, 0), size=2)
        return begin_step(self.model, self.group, self.weighted(), training_config(1), batch)

    def train(
        self,
        strategy: Strategy,
        checkpoint: Path,
        *,
        below: Sequence[LoraPair] = (),
        updates: int = 1,
        on_update: OnUpdate = lambda update: None,
        stage: Stage = STAGE,
        initial: LoraPair | None = None,
        carry: Mapping[str, Tensor] | None = None,
    ) -> LoraPair:
        """The pair of a stage trained on top of others; from the checkpoint, if there is one.

        Every reward of the stage is the same one.
        """
        self.group.load_chain([(pair, 1.0) for pair in below])
        training = StageTraining(
            model=self.model,
            group=self.group,
            strategy=strategy,
            stage=stage,
            index=len(below) + 1,
            reward=self.weighted(stage),
            config=training_config(updates),
            prompts=list(inputs.PROMPTS),
            rank=2,
            init="paper",
            seed=0,
            checkpoint=checkpoint,
            initial=initial,
            carry=carry,
            on_update=lambda update, total, values: on_update(update),
        )
        return training.run()

    def trained(self) -> int:
        """How many parameters require a gradient."""
        assert self.group.pair is not None
        parameters = [*self.group.pair.factors, *self.model.network.parameters(), *self.model.vae.parameters()]
        return sum(p.numel() for p in parameters if p.requires_grad)

    def weights(self) -> dict[str, Tensor]:
        """Copies of all weights that no stage may change."""
        parts: dict[str, nn.Module] = {"unet": self.model.network, "vae": self.model.vae}
        found = {f"{part}.{k}": v for part, module in parts.items() for k, v in module.state_dict().items()}
        found |= {f"frozen.{k}": v for k, v in self.group.frozen.items()}
        found |= {f"base.{k}": v for k, v in self.group.base.items()}
        return {key: value.detach().clone() for key, value in found.items()}

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Within, the counter counts the images that pass the denoiser, the decoder and the reward."""
        counts: Counter[str] = Counter()
        reward = self.reward
        self.reward = _Counted(reward, counts)
        hooks = [
            self.model.network.register_forward_hook(lambda m, i, o: counts.update(denoised=len(i[0]))),
            self.model.vae.decoder.register_forward_hook(lambda m, i, o: counts.update(decoded=len(i[0]))),
        ]
        try:
            yield counts
        finally:
            self.reward = reward
            for hook in hooks:
                hook.remove()

    def weighted(self, stage: Stage = STAGE) -> WeightedReward:
        """The reward of a stage."""
        return WeightedReward(dict.fromkeys(stage.rewards, self.reward), stage.rewards)


class _Counted(Reward):
    """A reward that counts."""

    def __init__(self, reward: Reward, counts: Counter[str]) -> None:
        super().__init__(NoSettings(), device=reward.device)
        self.reward, self.counts = reward, counts

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        self.counts.update(rewarded=len(images))
        return self.reward(images, prompts)


def training_config(updates: int) -> TrainConfig:
    """Of a stage of so many updates."""
    # eps as large as the gradients: AdamW would make a full step of the rounding of a device that is not exact
    return TrainConfig(samples=2 * updates, batch_size=2, lr=1e-2, eps=1e-6, checkpoint_every=1)


def same(one: LoraPair, other: LoraPair, *, exact: bool) -> float:
    """The largest difference of two pairs' factors, 0 when within rounding of a device that is not exact."""
    pairs: Any = zip(one.factors, other.factors, strict=True)
    largest = max(float((a - b).abs().max()) for a, b in pairs)
    return largest if exact or largest > 1e-5 else 0.0


def gradients(loss: Tensor, pair: LoraPair) -> Tensor:
    """The gradient of a loss with respect to all factors of a pair, in one row; zeros where there is none."""
    found = torch.autograd.grad(loss, pair.factors, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])
