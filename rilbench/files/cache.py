"""The folder of fetched files that are not in the Hub's cache, and a record of files whose hash was checked.

Hashing gigabytes takes long: a checked file is hashed again only after its time or size has changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import RilbenchError

MEMORY = "checked.json"


def cache() -> Path:
    """RILBENCH_CACHE, or `rilbench` in XDG_CACHE_HOME, which is `~/.cache` by default."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RILBENCH_CACHE") or user / "rilbench")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Within, one process at a time for the same name; locks have their own folder."""
    from filelock import FileLock

    locks = cache() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / name):
        yield


def is_known(path: Path, facts: Sequence[Any]) -> bool:
    """True if the file was found to match `facts` and has not changed since."""
    return bool(_memory().get(str(path.resolve())) == _entry(path.stat(), facts))


def remember(path: Path, state: os.stat_result, facts: Sequence[Any]) -> None:
    """Record that the file matched `facts` in a state.

    Without write permission it is hashed again next time.
    """
    from rilbench.store.files import write_json

    with suppress(RilbenchError, OSError), alone(MEMORY):
        write_json(cache() / MEMORY, _memory() | {str(path.resolve()): _entry(state, facts)})


def _entry(state: os.stat_result, facts: Sequence[Any]) -> list[Any]:
    return [state.st_mtime_ns, state.st_size, *facts]


def _memory() -> dict[str, Any]:
    try:
        values = json.loads((cache() / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet
        return {}
    return values if isinstance(values, dict) else {}
