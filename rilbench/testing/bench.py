"""A tiny model on which a strategy can train stages within a second, as the engine trains them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from rilbench.contracts.components import NoSettings, Reward
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage
from rilbench.model.attach import adapter_group
from rilbench.model.backbones.stable_diffusion import StableDiffusion
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.testing import inputs, tiny
from rilbench.testing.plans import StrategySubject
from rilbench.training.config import TrainConfig
from rilbench.training.drawing import PromptPool
from rilbench.training.stage import StageTraining
from rilbench.training.step import TrainingStep, WeightedReward
from rilbench.training.update import begin_step, draw_batch

STAGE = Stage(rewards={"warmth": 1.0})
PROMPTS = [Prompt(text) for text in inputs.PROMPTS]


class Bench:
    """A fresh tiny model with an adapter group, the same each time; an instance of the strategy; and `counts`, how many
    images the model's parts have seen."""

    def __init__(self, subject: StrategySubject) -> None:
        config = ModelConfig(path="tiny", device=subject.device, steps=2, guidance=1.0)
        self.model = TextToImage(StableDiffusion(SimpleNamespace(**tiny.parts()), config, subject.device))
        self.group = adapter_group(self.model.network, targets=("to_q", "to_v"))
        self.strategy = subject.fresh()
        self.counts = Counter[str]()
        for what, module in (("denoised", self.model.network), ("decoded", self.model.vae.decoder)):
            module.register_forward_hook(lambda m, i, o, what=what: self.counts.update({what: len(i[0])}))

    def training(self, config: TrainConfig, *, stage: Stage = STAGE, **options: Any) -> StageTraining:
        """A stage to train; the options are those of StageTraining."""
        parts: Any = {"model": self.model, "group": self.group, "strategy": self.strategy, "config": config}
        parts |= {
            "index": 1,
            "rank": 2,
            "init": "paper",
            "seed": 0,
            "prompts": PROMPTS,
            "stage": stage,
        }
        parts |= {"reward": WeightedReward(dict.fromkeys(stage.rewards, _Warmth(self)), stage.rewards)}
        return StageTraining(**parts | {"checkpoint": Path()} | options)  # where there is none

    def step(self) -> TrainingStep:
        """A stage's first step, after `begin`."""
        initial = LoraPair.initialised(self.group.layers, rank=2, init="paper", generator=generator_for("init", 0, 1))
        pair = initial.trainable()
        self.group.load_chain([])
        self.group.start(pair)
        self.strategy.begin(STAGE, pair)
        config = training_config()
        batch = draw_batch(PromptPool(PROMPTS), self.model.latent_shape, range(2), seed=0, stage=1)
        return begin_step(self.model, self.group, self.training(config).reward, config, batch)

    def train(self, below: Sequence[LoraPair] = (), *, updates: int = 1, **options: Any) -> LoraPair:
        """The pair of a stage trained on top of others."""
        self.group.load_chain([(pair, 1.0) for pair in below])
        with TemporaryDirectory() as folder:
            usual: dict[str, Any] = {"checkpoint": Path(folder) / "checkpoint", "index": len(below) + 1}
            return self.training(training_config(updates), **usual | options).run()

    def cost(self, below: Sequence[LoraPair], **options: Any) -> tuple[LoraPair, Counter[str]]:
        """The pair of a stage, the images that passed each part for it, and how many parameters were trained."""
        self.counts.clear()
        pair = self.train(below, **options)
        assert self.group.pair is not None
        parameters = [*self.group.pair.factors, *self.model.network.parameters(), *self.model.vae.parameters()]
        return pair, self.counts + Counter(trained=sum(p.numel() for p in parameters if p.requires_grad))

    def weights(self) -> dict[str, Tensor]:
        """Copies of all weights that no stage may change."""
        parts = {"unet": self.model.network.state_dict(), "vae": self.model.vae.state_dict()}
        parts |= {"frozen": self.group.frozen, "base": self.group.base}
        return {f"{part}.{k}": v.detach().clone() for part, values in parts.items() for k, v in values.items()}


class _Warmth(Reward):
    """Mean of red minus mean of blue, a closed form in [-1, 1]; it counts the images."""

    uses_prompts = False
    precision = "fp64"

    def __init__(self, bench: Bench) -> None:
        super().__init__(NoSettings(), device=str(bench.model.device))
        self.counts = bench.counts

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        self.counts.update(rewarded=len(images))
        return (images[:, 0] - images[:, 2]).mean((1, 2))


def training_config(updates: int = 1, *, batch: int = 2, micro_batch: int = 0) -> TrainConfig:
    """Of a stage of so many updates."""
    # eps as large as the gradients: AdamW would make a full step of the rounding of a device that is not exact
    steps: dict[str, Any] = {"lr": 1e-2, "eps": 1e-6, "checkpoint_every": 1}
    return TrainConfig(samples=batch * updates, batch_size=batch, micro_batch=micro_batch, **steps)
