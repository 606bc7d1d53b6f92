"""Global state of the process that a component must leave as it found it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within: warnings are quiet, being no breach of a contract; at the end torch's modes are what they were."""
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)


def changed(before: dict[str, Any]) -> list[str]:
    """What is no longer as in a `snapshot`."""
    return [name for name, value in snapshot().items() if value != before[name]]


def snapshot() -> dict[str, Any]:
    """The state, by what a user calls it; values compare with ==."""
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "torch's random generator": torch.get_rng_state().numpy().tobytes(),
        "random's generator": random.getstate(),
        "numpy's random generator": (numpy_state["state"]["key"].tobytes(), numpy_state["state"]["pos"]),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": str(torch.get_default_device()),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }
