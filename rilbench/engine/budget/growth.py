"""Estimates from smaller images whether one image of a large resolution can be tried.

Memory and time are sums of powers of an image's side with factors that are not negative, so their logarithms are convex
in that of the side: the growth from one size to the next is a lower bound of the growth after it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from rilbench.contracts.errors import MemoryFullError
from rilbench.engine.budget.memory import Memory

SECONDS = 60.0  # for counting one image; a run takes thousands of such forwards


def check(count: Callable[[int], Memory], *, own: int, wanted: int, free: int, place: str, remedy: str) -> None:
    """Raises MemoryFullError if an image of side `wanted` needs more than the free memory of `place`, or more than
    `SECONDS`.

    Tries sides from `own`, doubled, below `wanted`.
    """
    side, before = own, None
    while side < wanted:
        start = time.monotonic()
        needs = count(side).without_gradient(1, 1)
        now = (*needs, time.monotonic() - start)
        if before is not None:
            *least, seconds = (_least(a, b, math.log2(wanted / side)) for a, b in zip(before, now, strict=True))
            image = f"one image of {wanted} pixels a side needs at least"
            if max(least) > free:
                gigabytes = f"{max(least) / 1e9:.3g} GB beside the loaded weights, {place} has {free / 1e9:.1f} GB free"
                raise MemoryFullError(f"{image} {gigabytes}: {remedy}")
            if seconds > SECONDS:
                raise MemoryFullError(f"{image} {seconds / 60:.0f} min a step on {place}: {remedy}")
        side, before = 2 * side, now


def _least(before: float, now: float, doublings: float) -> float:
    return now * (now / before) ** doublings if before else now
