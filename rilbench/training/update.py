"""One update of a stage: Alg. 1 of the paper (supplement, Sec. 8). docs/paper.md numbers its lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Strategy
from rilbench.model.adapters import AdapterGroup
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.training.checked import CheckedStrategy
from rilbench.training.config import TrainConfig
from rilbench.training.drawing import PromptPool
from rilbench.training.gradient import Gradient
from rilbench.training.step import Batch, TrainingStep, WeightedReward


@dataclass(kw_only=True)
class Trainer:
    """What all updates of a stage use. `index` is the stage's position among the run's trained stages, from 1."""

    model: TextToImage
    group: AdapterGroup
    strategy: Strategy
    reward: WeightedReward
    config: TrainConfig
    prompts: Sequence[Prompt]
    seed: int
    index: int

    @cached_property
    def _pool(self) -> PromptPool:
        return PromptPool(self.prompts)

    def update(self, number: int, pair: LoraPair, optimiser: torch.optim.Optimizer) -> dict[str, float]:
        """Update `number`, from 0: the body of Alg. 1's loop. Returns the values to log."""
        config, strategy = self.config, CheckedStrategy(self.strategy)
        first = number * config.batch_size
        samples = range(first, first + config.batch_at(number))
        gradient = Gradient(strategy, pair.factors, by_term=number % config.log_gradients_every == 0)

        drawn = {"seed": self.seed, "stage": self.index}
        batch = draw_batch(self._pool, self.model.latent_shape, samples, **drawn)  # lines 2 and 3
        optimiser.zero_grad(set_to_none=True)
        reward = self.reward.at(number, config.updates)
        for part, share in batch.parts(config.micro_batch):
            step = begin_step(self.model, self.group, reward, config, part)  # lines 4 to 7
            loss = strategy.loss(step)  # lines 8 to 13, of RID: strategies/rilbench_rid/method.py
            gradient.backward(loss, step, share)  # line 14
        norm = gradient.finish(longest=config.clip_grad)
        optimiser.step()  # line 15
        strategy.after_update(step)  # line 16
        return {"update": number + 1, **gradient.values, **gradient.measured(), "gradient": norm}


def draw_batch(pool: PromptPool, shape: tuple[int, ...], samples: range, *, seed: int, stage: int) -> Batch:
    """The prompt and z_N ~ N(0, I) of each sample, from the training prompts and (seed, stage, sample) only: batches of
    another size hold the same samples."""
    drawn = [draw_sample(pool, shape, generator_for("train", seed, stage, sample)) for sample in samples]
    prompts = [prompt for prompt, _ in drawn]
    z_N = torch.stack([z_N for _, z_N in drawn])
    return Batch([prompt.text for prompt in prompts], [prompt.negative for prompt in prompts], z_N)


def draw_sample(pool: PromptPool, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Prompt, Tensor]:
    """A prompt and z_N (*shape)."""
    prompt = pool.draw(generator)
    return prompt, torch.randn(shape, generator=generator)


def begin_step(
    model: TextToImage, group: AdapterGroup, reward: WeightedReward, config: TrainConfig, batch: Batch
) -> TrainingStep:
    """The rollout, N - K steps of the student without gradient; K is `train.last_steps`, 1 in the paper.

    The pair in training is folded into the weights for it, so that a forward costs what the bare model's does.
    """
    with group.folded():
        z = model.rollout(batch.z_N, batch.prompts, negatives=batch.negatives, stop=config.last_steps)
    return TrainingStep(model, group, reward, config, batch.prompts, batch.negatives, z, batch.z_N)
