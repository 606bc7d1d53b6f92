"""The optimisers a configuration can name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.training.config import TrainConfig


def make(factors: Sequence[Tensor], config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over the factors; ConfigError when its 8-bit form is asked for and bitsandbytes is not installed."""
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    if config.optimiser == "adamw8bit":
        kind = _eight_bit()
    options = {"lr": config.lr, "eps": config.eps, "weight_decay": config.weight_decay, "betas": (0.9, 0.999)}
    return kind(factors, **options)  # type: ignore[arg-type]


def _eight_bit() -> type[torch.optim.Optimizer]:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        why = f"adamw8bit needs bitsandbytes ({error})"
        raise ConfigError(f"train.optimiser: {why}; pip install bitsandbytes, or use adamw") from None
    found: type[torch.optim.Optimizer] = AdamW8bit
    return found
