"""The settings of one stage's training: `train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rilbench.contracts.settings import setting
from rilbench.training.target import Target

Optimiser = Literal["adamw", "adamw8bit", "sgd", "adafactor"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class TrainConfig:
    """One stage's training. `recipes` override it for a strategy and a reward."""

    samples: int = setting(
        320, "images generated for training in one stage; the last batch may be smaller", at_least=1, at_most=10**7
    )
    batch_size: int = setting(8, "images per update", at_least=1, at_most=10_000)
    micro_batch: int = setting(
        0,
        "images of a batch in memory at a time, with accumulated gradient; 0 means the whole batch",
        at_least=0,
        at_most=10_000,
    )
    gradient_accumulation: int = setting(
        1,
        "parts of a batch, one after the other in memory, with accumulated gradient; sets micro_batch",
        at_least=1,
        at_most=10_000,
        added=True,
    )
    lr: float = setting(1e-3, "learning rate", above=0, at_most=100)
    lr_schedule: Schedule = setting(
        "constant", "learning rate over the updates of a stage, falling to 0 unless constant", added=True
    )
    lr_warmup: int = setting(
        0, "first updates of a stage, over which the learning rate rises from 0", at_least=0, at_most=10**6, added=True
    )
    optimiser: Optimiser = setting(
        "adamw", "adamw, adamw8bit if bitsandbytes is installed, sgd (momentum 0.9), or adafactor"
    )
    eps: float = setting(
        1e-16,
        "eps of the optimiser; must be far below the gradients, which have the unit of the reward",
        at_least=1e-30,
        at_most=1,
    )
    weight_decay: float = setting(0.1, "weight decay, multiplied by the learning rate", at_least=0, at_most=100)
    clip_grad: float = setting(
        0.0, "maximum gradient norm, in units of the scaled reward; 0 turns clipping off", at_least=0, at_most=1e6
    )
    last_steps: int = setting(1, "K, last denoising steps with gradient", at_least=1, at_most=1000)
    reward_scale: float = setting(
        1.0, "factor of the reward in the loss; lambda is relative to it", at_least=-1e9, at_most=1e9
    )
    prompts: str = setting(
        "package:rilbench_shapes/prompts/train.txt", "file of training prompts, one per line", path=True
    )
    log_gradients_every: int = setting(
        10, "updates between measurements of each loss term's gradient norm", at_least=1, at_most=10**6
    )
    checkpoint_every: int = setting(100, "updates between checkpoints within a stage", at_least=1, at_most=10**6)
    checkpoint_minutes: float = setting(
        10.0, "minutes after which a checkpoint is due in any case; 0 means never", at_least=0, at_most=1e6, added=True
    )
    validate_every: int = setting(
        0,
        "updates between validations, which draw and measure a few images; 0 means none",
        at_least=0,
        at_most=10**6,
        added=True,
    )
    validate_prompts: str = setting(
        "package:rilbench_shapes/prompts/validate.txt",
        "file of validation prompts, apart from those of training and evaluation",
        path=True,
        added=True,
    )
    validate_images: int = setting(
        8, "images of a validation, one for each of the first prompts of the file", at_least=1, at_most=1000, added=True
    )
    validate_metrics: tuple[str, ...] = setting(
        (), "what a validation measures, of the run's rewards and metrics; empty means its rewards", added=True
    )
    keep_best: str = setting(
        "", "a validation metric: the stage keeps the pair of the update with its best value, not the last", added=True
    )
    until: str = setting(
        "", "the stage ends when a validation reaches this, METRIC>=NUMBER or METRIC<=NUMBER", added=True
    )

    @property
    def is_scheduled(self) -> bool:
        """Whether the learning rate changes."""
        return self.lr_schedule != "constant" or self.lr_warmup > 0

    @property
    def decided_by(self) -> dict[str, str]:
        """Setting to the validation metric that it makes the stage's weights depend on. ConfigError for a target that
        is none."""
        until = Target.parse(self.until).metric if self.until else ""
        return {key: metric for key, metric in (("keep_best", self.keep_best), ("until", until)) if metric}

    def validates(self, update: int) -> bool:
        """Whether an update (from 1) is followed by a validation: every n-th and the last one."""
        every = self.validate_every
        return bool(every) and update > 0 and (update % every == 0 or update == self.updates)

    @property
    def updates(self) -> int:
        """Optimiser steps of a stage: the number of batches that `samples` fill."""
        return -(-self.samples // self.batch_size)

    def batch_at(self, update: int) -> int:
        """Images of an update (from 0): `batch_size`, or the rest of `samples` for the last one."""
        return min(self.batch_size, self.samples - update * self.batch_size)
