"""The one training loop of the recipe, seeded per step."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

EMA_DECAY = 0.998

Loss = Callable[[torch.Generator], Tensor]  # draws its own batch from the generator of the step


def generator_for(*key: object) -> torch.Generator:
    """The generator of one purpose, for example (seed, "vae", step)."""
    return torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))


def fit(name: str, model: nn.Module, loss: Loss, *, steps: int, lr: float, seed: int = 0, warmup: int = 100) -> None:
    """Train `model` in place with AdamW and a cosine schedule; leave the average weights in it, frozen."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = [p.detach().clone() for p in parameters]
    model.train()
    for step in track(range(steps), name, console=Console(stderr=True)):
        for group in optimiser.param_groups:
            group["lr"] = lr * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss(generator_for(seed, name, step)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        decay = min(EMA_DECAY, (step + 1) / (step + 10))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)
    model.eval().requires_grad_(False)
