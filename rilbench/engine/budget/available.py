"""The free memory of a device, and which runs are so small that nothing has to be counted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil
import torch

from rilbench.files.states import size_of
from rilbench.model.config import ModelConfig

# What an image keeps for a step over the files: 0.9 on `shapes`; below 8 in half precision at 512 (estimated).
LARGEST = 10


def free_bytes(device: str) -> int:
    """Free memory of the device for what is not loaded yet."""
    if torch.device(device).type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    return int(psutil.virtual_memory().available)


def is_small(model: ModelConfig, files: Iterable[Path], images: int, device: str) -> bool:
    """True if a run certainly fits, by the size of the files it loads, which may be in half precision.

    images: at a time, each as often as it goes through the model with gradient.
    """
    return model.resolution is None and LARGEST * images * size_of(files) < free_bytes(device)


def elsewhere(model: ModelConfig) -> str:
    """Settings that reduce the memory of the weights."""
    return ("set model.precision=bf16, or " if model.precision == "fp32" else "") + "choose another model.device"
