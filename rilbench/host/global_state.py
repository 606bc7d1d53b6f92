"""State of the whole process that a component must not change."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One piece of state: how to read and restore it. Values are compared with ==."""

    get: Callable[[], Any]
    set: Callable[[Any], Any]


def generators() -> dict[str, Setting]:
    """The global random generators, by their names for users."""
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
    """torch's modes, by their names for users."""
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
    """The current state."""
    return {name: setting.get() for name, setting in settings.items()}


def changed(settings: dict[str, Setting], before: dict[str, Any]) -> list[str]:
    """The settings that differ from a `snapshot`."""
    return [name for name, setting in settings.items() if setting.get() != before[name]]


def restore(settings: dict[str, Setting], before: dict[str, Any]) -> list[str]:
    """Restore the settings that differ from a `snapshot`, and return their names."""
    moved = changed(settings, before)
    for name in moved:
        settings[name].set(before[name])
    return moved


def defaults() -> dict[str, Any]:
    """torch's initial modes, with the current number of threads."""
    import torch

    return snapshot(modes()) | {
        "torch's default dtype": torch.float32,
        "torch's default device": "cpu",
        "torch's grad mode": True,
        "torch's deterministic mode": False,
        "torch's precision of matrix products": "highest",
    }


@contextmanager
def restored(settings: dict[str, Setting]) -> Iterator[None]:
    """At the end the settings are what they are now."""
    before = snapshot(settings)
    try:
        yield
    finally:
        restore(settings, before)


@contextmanager
def modes_kept(who: str) -> Iterator[None]:
    """Within, code of `who` is called. At the end torch's modes are restored, with one warning if they had changed; if
    torch is imported within, its initial ones.

    Generators are not restored: a component that draws would get the same numbers in every call.
    """
    before = snapshot(modes()) if "torch" in sys.modules else {}
    try:
        yield
    finally:
        if "torch" in sys.modules and (moved := restore(modes(), before or defaults())):
            warn_once(f"{who} changes {', '.join(moved)} for the whole process; this is undone")


@contextmanager
def kept(who: str) -> Iterator[None]:
    """Within, code of `who` is imported or an instance created. At the end modes and generators are restored."""
    drawing = restored(generators()) if "torch" in sys.modules else nullcontext()
    with drawing, modes_kept(who), warnings.catch_warnings():  # whose filters, such as errors for all, end with it
        yield


@lru_cache(maxsize=1024)
def warn_once(text: str) -> None:
    """A warning that is printed once per process, however often a component is called."""
    warnings.warn(text, stacklevel=2)
