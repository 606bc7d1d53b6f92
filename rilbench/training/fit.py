"""Whether a run fits into memory, asked before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psutil
import torch

from rilbench.config import RunConfig
from rilbench.errors import ConfigError
from rilbench.training.memory import Memory

Step = tuple[int, tuple[str, ...]]  # images at a time, rewards


def free_bytes(device: str) -> int:
    """What is left on the device for what is not loaded yet."""
    if torch.device(device).type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    return int(psutil.virtual_memory().available)


def needed(config: RunConfig, steps: Sequence[Step], memory: Memory) -> int:
    """Bytes beside the loaded weights, of the training step or the evaluation that needs most."""
    on, slicing = config.model.gradient_checkpointing, config.model.vae_slicing
    training = [memory.training(images, rewards, checkpointing=on) for images, rewards in steps]
    return max([*training, memory.evaluation(config.evaluate.batch_size, slicing=slicing)])


def check(config: RunConfig, steps: Sequence[Step], memory: Memory, device: str, free: int) -> None:
    """ConfigError with the settings that would make it fit, unless it does."""
    wanted = needed(config, steps, memory)
    if wanted > free:
        told = " and ".join(remedies(config, steps, memory, free)) or "no batch is small enough; lower model.resolution"
        has = f"{device} has {free / 1e9:.1f} GB free"
        needs = f"the run needs about {wanted / 1e9:.1f} GB beside the loaded weights"
        raise ConfigError(f"{needs}, {has}: {told}. With check_memory=false it is tried all the same.")


def remedies(config: RunConfig, steps: Sequence[Step], memory: Memory, free: int) -> list[str]:
    """The fewest settings that make training and evaluation fit; empty when none do."""
    batch, slicing = config.evaluate.batch_size, config.model.vae_slicing
    images = _largest(batch, lambda n: memory.evaluation(n, slicing=slicing), free)
    training = _for_training(config.model.gradient_checkpointing, steps, memory, free)
    if training is None or not images:
        return []
    return training + ([f"set evaluate.batch_size={images}"] if images < batch else [])


def _for_training(configured: bool, steps: Sequence[Step], memory: Memory, free: int) -> list[str] | None:
    most = max((images for images, _ in steps), default=0)
    for on in dict.fromkeys((configured, True)):
        checkpointing = ["set model.gradient_checkpointing=true"] if on > configured else []

        def need(images: int, on: bool = on) -> int:
            return max(memory.training(min(images, size), rewards, checkpointing=on) for size, rewards in steps)

        size = _largest(most, need, free)
        if size or not most:
            return checkpointing + ([f"set train.micro_batch={size} (the same gradient)"] if size < most else [])
    return None


def _largest(most: int, need: Callable[[int], int], free: int) -> int:
    """The largest number of images, at most `most`, whose need is free; 0 when there is none."""
    return next((n for n in range(most, 0, -1) if need(n) <= free), 0)
