"""Names of runs in a message."""

from __future__ import annotations

from collections.abc import Sequence

TOLD = 3  # names a message tells before it counts


def some(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    told = ", ".join(names[:TOLD])
    return told if len(names) <= TOLD else f"{told} and {len(names) - TOLD} more"
