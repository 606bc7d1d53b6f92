"""Whether a run fits into memory, checked before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from rilbench.engine.budget.memory import Memory
from rilbench.engine.config import RunConfig
from rilbench.model.config import ModelConfig

Step = tuple[int, tuple[str, ...]]  # images at a time, rewards


@dataclass(frozen=True)
class Work:
    """What a run needs memory for: training steps, and the numbers of different prompts and of measured images."""

    steps: Sequence[Step]
    prompts: int
    images: int


def free_bytes(device: str) -> int:
    """Free memory of the device for what is not loaded yet."""
    if torch.device(device).type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    return int(psutil.virtual_memory().available)


def needed(config: RunConfig, work: Work, memory: Memory) -> int:
    """Bytes in addition to the loaded weights: what stays, and the step or evaluation that needs most."""
    on, slicing = config.model.gradient_checkpointing, config.model.vae_slicing
    training = [memory.training(images, rewards, checkpointing=on) for images, rewards in work.steps]
    evaluation = memory.evaluation(min(config.evaluate.batch_size, work.images), slicing=slicing)
    return memory.standing(work.prompts) + max([*training, evaluation])


def hopeless(model: ModelConfig) -> str:
    """The advice if no known remedy is sufficient."""
    return f"no batch is small enough; lower model.resolution, or {elsewhere(model)}"


def elsewhere(model: ModelConfig) -> str:
    """Settings that reduce the memory of the weights."""
    return ("set model.precision=bf16, or " if model.precision == "fp32" else "") + "choose another model.device"
