"""State of the whole process that a component must leave as it found it."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One piece of state: how it is read, and put back. Values compare with ==."""

    get: Callable[[], Any]
    set: Callable[[Any], Any]


def generators() -> dict[str, Setting]:
    """The global random generators, by what a user calls them."""
    import numpy as np
    import torch

    def numpy_state() -> tuple[Any, ...]:
        kind, key, *rest = np.random.get_state()
        return (kind, tuple(key), *rest)

    return {
        "torch's random generator": Setting(
            lambda: torch.get_rng_state().numpy().tobytes(),
            lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
        ),
        "random's generator": Setting(random.getstate, random.setstate),
        "numpy's random generator": Setting(numpy_state, np.random.set_state),
    }


def modes() -> dict[str, Setting]:
    """torch's modes, by what a user calls them."""
    import torch

    return {
        "torch's default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
        "torch's default device": Setting(lambda: str(torch.get_default_device()), torch.set_default_device),
        "torch's grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
        "torch's number of threads": Setting(torch.get_num_threads, torch.set_num_threads),
        "torch's deterministic mode": Setting(
            torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
        ),
        "torch's precision of matrix products": Setting(
            torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        ),
    }


def snapshot(settings: dict[str, Setting]) -> dict[str, Any]:
    """The state now."""
    return {name: setting.get() for name, setting in settings.items()}


def changed(settings: dict[str, Setting], before: dict[str, Any]) -> list[str]:
    """What is no longer as in a `snapshot`."""
    return [name for name, setting in settings.items() if setting.get() != before[name]]


def restore(settings: dict[str, Setting], before: dict[str, Any]) -> list[str]:
    """Put back what is no longer as in a `snapshot`, and name it."""
    moved = changed(settings, before)
    for name in moved:
        settings[name].set(before[name])
    return moved


@contextmanager
def kept(who: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Within, the code of `who` is imported; at the end modes and generators are what they were, and `warn` is told
    which modes were not. Does nothing in a process without torch."""
    if "torch" not in sys.modules:
        yield
        return
    watched, drawn = modes(), generators()
    before, drawn_before = snapshot(watched), snapshot(drawn)
    try:
        with warnings.catch_warnings():  # its filters, such as errors for all warnings, end with it
            yield
    finally:
        moved = restore(watched, before)
        restore(drawn, drawn_before)
    if moved:
        warn(f"{who} changes {', '.join(moved)} when it is imported; that is undone")
