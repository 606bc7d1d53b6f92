"""The one training loop of the recipe: seeded per step, checkpointed, so a stop loses at most a minute."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

CHECKPOINT_EVERY = 100  # steps
EMA_DECAY = 0.998

Loss = Callable[[torch.Generator], Tensor]  # draws its own batch from the generator of the step


def generator_for(*key: object) -> torch.Generator:
    """The generator of one purpose, for example (seed, "vae", step)."""
    return torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))


def fit(
    name: str, model: nn.Module, loss: Loss, *, steps: int, lr: float, folder: Path, seed: int = 0, warmup: int = 100
) -> list[float]:
    """Train `model` in place with AdamW and a cosine schedule; leave the average weights in it.

    Continues from `folder/name.ckpt` if a training was stopped. Returns the mean loss of every 100 steps.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = [p.detach().clone() for p in parameters]
    state = _load(folder / f"{name}.ckpt")
    start, losses, running = 0, [], 0.0
    if state is not None:
        start, losses, average = state["step"], state["losses"], state["average"]
        optimiser.load_state_dict(state["optimiser"])
        model.load_state_dict(state["model"])

    model.train()
    with _progress() as progress:
        task = progress.add_task(name, total=steps, completed=start)
        for step in range(start, steps):
            for group in optimiser.param_groups:
                group["lr"] = lr * min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
            value = loss(generator_for(seed, name, step))
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            decay = min(EMA_DECAY, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
            running += value.item() / CHECKPOINT_EVERY
            progress.update(task, advance=1, description=f"{name} loss {value.item():.4f}")
            if (step + 1) % CHECKPOINT_EVERY == 0:
                losses.append(running)
                running = 0.0
                (folder / f"{name}.losses").write_text("\n".join(f"{v:.6f}" for v in losses))
                state = {"step": step + 1, "losses": losses, "average": average}
                state |= {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
                _save(state, folder / f"{name}.ckpt")
    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)
    model.eval().requires_grad_(False)
    return losses


def _save(state: dict[str, Any], path: Path) -> None:
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def _load(path: Path) -> dict[str, Any] | None:
    return torch.load(path, weights_only=True) if path.exists() else None


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)
