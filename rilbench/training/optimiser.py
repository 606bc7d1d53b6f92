"""Optimisers and learning-rate schedules, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.training.config import TrainConfig

MOMENTUM = 0.9  # of sgd
BETAS = (0.9, 0.999)  # of AdamW
SMALLEST = 1e-3  # of adafactor, whose step is relative to the size of a factor: the size of one that is 0


def make_optimiser(factors: Sequence[Tensor], config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of a stage. Raises ConfigError for the 8-bit AdamW if bitsandbytes is not installed."""
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    match config.optimiser:
        case "sgd":
            return torch.optim.SGD(factors, momentum=MOMENTUM, **options)
        case "adafactor":
            return torch.optim.Adafactor(factors, eps=(config.eps, SMALLEST), **options)
        case "adamw":
            return torch.optim.AdamW(factors, eps=config.eps, betas=BETAS, **options)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        why = f"adamw8bit needs bitsandbytes ({error})"
        raise ConfigError(f"train.optimiser: {why}; pip install bitsandbytes, or use adamw") from None
    eight: torch.optim.Optimizer = AdamW8bit(factors, eps=config.eps, betas=BETAS, **options)
    return eight


def make_schedule(optimiser: torch.optim.Optimizer, config: TrainConfig) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The schedule of diffusers' training scripts; None for a constant rate without warm-up."""
    if not config.is_scheduled:
        return None
    from diffusers.optimization import get_scheduler

    warm = "_with_warmup" if config.lr_schedule == "constant" else ""
    schedule: torch.optim.lr_scheduler.LRScheduler = get_scheduler(
        f"{config.lr_schedule}{warm}", optimiser, num_warmup_steps=config.lr_warmup, num_training_steps=config.updates
    )
    return schedule
