"""Checks that a component leaves the state of the process unchanged."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from rilbench.host.global_state import changed, generators, modes, restored, snapshot
from rilbench.testing.check import Subject, require

UNUSUAL = 7  # a seed and a number of threads that no component would set


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within: warnings are quiet, being no breach of a contract; at the end torch's modes are what they were."""
    with restored(modes()), warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def watched(*, drawing: bool = True) -> Iterator[list[str]]:
    """Within, a component acts in an unusual state, so that setting the usual one shows.

    The list names what it changed; at the end everything is what it was. drawing: whether the global random generators
    are watched too.
    """
    found: list[str] = []
    settings = modes() | generators()
    with restored(settings):
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(UNUSUAL)
        torch.set_num_threads(UNUSUAL)
        unusual = snapshot(settings)
        yield found
        found += changed(settings if drawing else modes(), unusual)


def require_untouched(subject: Subject[Any], call: Callable[[], object], what: str) -> None:
    """Fault if a call, named `what`, or making an instance changes global state."""
    call()  # a first one may import and warm up
    with watched() as found:
        call()
    require(not found, f"{what} changes {', '.join(found)}")
    with watched(drawing=False) as found:  # models draw initial weights before they load their own
        subject.fresh()
    require(not found, f"making an instance changes {', '.join(found)}")
