"""Watching that a component under test leaves the state of the process alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rilbench.host.global_state import changed, generators, modes, restore, snapshot

UNUSUAL_THREADS = 7  # a number that nobody would set
UNUSUAL_SEED = 602_214


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within: warnings are quiet, being no breach of a contract; at the end torch's modes are what they were."""
    import torch

    watched = modes()
    before = snapshot(watched)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        restore(watched, before)


@contextmanager
def watched(*, drawing: bool = True) -> Iterator[list[str]]:
    """Within, a component acts in an unusual state, so that setting the usual one shows.

    The list names what it changed; at the end everything is what it was. drawing: whether the global random generators
    are watched too.
    """
    found: list[str] = []
    settings = modes() | generators()
    before = snapshot(settings)
    _make_unusual()
    unusual = snapshot(settings)
    try:
        yield found
    finally:
        looked_at = settings if drawing else modes()
        found += changed(looked_at, unusual)
        restore(settings, before)


def _make_unusual() -> None:
    import random

    import numpy as np
    import torch

    random.seed(UNUSUAL_SEED)
    np.random.seed(UNUSUAL_SEED)
    torch.manual_seed(UNUSUAL_SEED)
    torch.set_num_threads(UNUSUAL_THREADS)
