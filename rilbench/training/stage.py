"""The training loop of one stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.errors import DamagedError, DivergedError, PluginError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.host.guard import blamed
from rilbench.model.adapters import AdapterGroup
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.store.checksums import damaged
from rilbench.store.tensors import RESTART, load_checkpoint, save_checkpoint
from rilbench.training import optimisers
from rilbench.training.config import TrainConfig
from rilbench.training.gradient import Gradient, clip, finite
from rilbench.training.step import WeightedReward, begin_step, draw_batch

CHECKPOINT = {"update", "log", "optimiser", "factors", "strategy"}  # what it holds
OnUpdate = Callable[[int, int, dict[str, float]], None]  # update, of how many, its logged values


@dataclass(kw_only=True)
class StageTraining:
    """Everything one stage's training needs. `index` is its position among the run's trained stages, from 1."""

    model: TextToImage
    group: AdapterGroup
    strategy: Strategy
    stage: Stage
    index: int
    reward: WeightedReward
    config: TrainConfig
    prompts: list[str]
    rank: int
    init: str
    seed: int
    checkpoint: Path
    initial: LoraPair | None = None  # the pair to go on with; None is a new one
    carry: Mapping[str, Tensor] | None = None  # what the strategy left at the end of the stage before
    warn: Callable[[str], None] = lambda text: None
    on_update: OnUpdate = lambda update, total, values: None
    log: list[dict[str, float]] = field(default_factory=list)

    def run(self) -> LoraPair:
        """Train the stage's pair, from its checkpoint if it was stopped, and return it detached."""
        pair = (self.initial or self._new_pair()).trainable()
        self.group.start(pair)
        with blamed(self._who):
            self.strategy.begin(self.stage, pair)
            if self.carry:
                self.strategy.load_carry(self.carry)
        optimiser = optimisers.make(pair.factors, self.config)
        for update in range(self._resume(pair, optimiser), self.config.updates):
            self.log.append(self._update(update, pair, optimiser))
            self.on_update(update + 1, self.config.updates, self.log[-1])
            if (update + 1) % self.config.checkpoint_every == 0 and update + 1 < self.config.updates:
                self._save(update + 1, pair, optimiser)
        return pair.copy()

    @property
    def _who(self) -> str:
        return f"strategy {type(self.strategy).__name__}"

    def carry_left(self) -> dict[str, Tensor]:
        """What the strategy leaves for the next stage."""
        with blamed(self._who):
            left = self.strategy.carry()
        if not all(isinstance(value, Tensor) for value in left.values()):
            raise PluginError(f"{self._who}: carry must return tensors by name")
        return left

    def _new_pair(self) -> LoraPair:
        generator = generator_for("init", self.seed, self.index)
        return LoraPair.initialised(self.group.layers, rank=self.rank, init=self.init, generator=generator)

    def _update(self, update: int, pair: LoraPair, optimiser: torch.optim.Optimizer) -> dict[str, float]:
        batch = draw_batch(
            self.prompts,
            self.model.latent_shape,
            seed=self.seed,
            stage=self.index,
            update=update,
            size=self.config.batch_at(update),
        )
        gradient = Gradient(self.strategy, self._who, pair.factors, terms=update % self.config.log_gradients_every == 0)
        optimiser.zero_grad(set_to_none=True)
        try:
            for part in batch.parts(self.config.micro_batch):
                step = begin_step(self.model, self.group, self.reward, self.config, part)
                gradient.add(step, share=len(part.prompts) / len(batch.prompts))
            gradient.finish()
            norm = torch.nn.utils.get_total_norm([factor.grad for factor in pair.factors if factor.grad is not None])
            finite("gradient", norm)
            if self.config.clip_grad:
                clip(pair.factors, self.config.clip_grad, norm)
        except DivergedError as error:
            raise DivergedError(
                f"{error} in stage {self.index} ({self.stage.label}), update {update + 1} of {self.config.updates}. "
                f"Finished stages are kept. Try a lower learning rate (now {self.config.lr:g}) or check the reward."
            ) from None
        optimiser.step()
        with blamed(self._who):
            self.strategy.after_update(step)
        return {"update": update + 1, **gradient.values, **gradient.norms(), "gradient": norm.item()}

    def _resume(self, pair: LoraPair, optimiser: torch.optim.Optimizer) -> int:
        saved = self._saved(pair)
        if saved is None:
            return 0
        with torch.no_grad():
            for factor, value in zip(pair.factors, saved["factors"], strict=True):
                factor.copy_(value)
        optimiser.load_state_dict(saved["optimiser"])
        with blamed(self._who):
            self.strategy.load_state(saved["strategy"])
        self.log.extend(saved["log"])
        return int(saved["update"])

    def _saved(self, pair: LoraPair) -> dict[str, Any] | None:
        """The checkpoint; None when there is none, or none that can be used, which costs the stage a new start."""
        try:
            saved = load_checkpoint(self.checkpoint)
            if saved is not None and (why := _unlike(saved, pair)):
                raise damaged(self.checkpoint, why, RESTART)
        except DamagedError as error:
            self.warn(f"{str(error).removesuffix(RESTART)}Stage {self.index} ({self.stage.label}) starts again")
            return None
        return saved

    def _save(self, update: int, pair: LoraPair, optimiser: torch.optim.Optimizer) -> None:
        state: dict[str, Any] = {"update": update, "log": self.log, "optimiser": optimiser.state_dict()}
        with blamed(self._who):
            state |= {"factors": [f.detach() for f in pair.factors], "strategy": self.strategy.state()}
        save_checkpoint(state, self.checkpoint)


def _unlike(saved: Mapping[str, Any], pair: LoraPair) -> str:
    """What keeps a checkpoint from being one of the stage that trains a pair; empty when nothing does."""
    if missing := CHECKPOINT - saved.keys():
        return f"it holds no {', '.join(sorted(missing))}"
    shapes = [tuple(factor.shape) for factor in saved["factors"]]
    return "" if shapes == [tuple(factor.shape) for factor in pair.factors] else "it is of another pair"
