"""Rewards that kill the process that trains on them, as running out of memory does."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from rilbench import Reward


class Mortal(Reward):
    """Always."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if images.requires_grad:
            os.kill(os.getpid(), signal.SIGKILL)
        return images.mean((1, 2, 3))


class Fragile(Reward):
    """While there is a file `once.txt` in the working folder, which it takes with it."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if images.requires_grad and Path("once.txt").exists():
            Path("once.txt").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return images.mean((1, 2, 3))
