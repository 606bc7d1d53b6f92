"""State of the whole process that a component must leave as it found it."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
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


def defaults() -> dict[str, Any]:
    """The modes as torch starts with them; the number of threads as it is."""
    import torch

    return snapshot(modes()) | {
        "torch's default dtype": torch.float32,
        "torch's default device": "cpu",
        "torch's grad mode": True,
        "torch's deterministic mode": False,
        "torch's precision of matrix products": "highest",
    }


@contextmanager
def kept(who: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Within, the code of `who` is imported or made; at the end modes and generators are what they were, and `warn` is
    told which modes were not. Torch may be imported within: then its modes are those it starts with."""
    loaded = "torch" in sys.modules
    before = snapshot(modes()) if loaded else {}
    drawn = snapshot(generators()) if loaded else {}
    moved: list[str] = []
    try:
        with warnings.catch_warnings():  # its filters, such as errors for all warnings, end with it
            yield
    finally:
        if "torch" in sys.modules:
            moved = restore(modes(), before or defaults())
        if loaded:
            restore(generators(), drawn)
    if moved:
        warn(f"{who} changes {', '.join(moved)} when it is imported; that is undone")


@contextmanager
def modes_kept(who: str) -> Iterator[None]:
    """Within, the code of `who` is called; at the end the modes are what they were, with one warning if they were not.

    Generators are not watched: putting them back would give a component that draws the same numbers in every call.
    """
    if "torch" not in sys.modules:
        yield
        return
    watched = modes()
    before = snapshot(watched)
    try:
        yield
    finally:
        if moved := restore(watched, before):
            warn_once(f"{who} changes {', '.join(moved)} for the whole process; that is undone")


@lru_cache(maxsize=1024)
def warn_once(text: str) -> None:
    """A warning that is given once a process, however often a component is called."""
    warnings.warn(text, stacklevel=2)
