"""The folder of fetched files that are not of the Hub, and which files were found to be the published ones.

Hashing gigabytes takes long: what was found right is hashed again only after the file's time or size changed.
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
    """RILBENCH_CACHE, or `~/.cache/rilbench`."""
    return Path(os.environ.get("RILBENCH_CACHE") or Path.home() / ".cache" / "rilbench")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """One process at a time within, of those that name the same; locks have a folder of their own."""
    from filelock import FileLock

    locks = cache() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / name):
        yield


def is_known(path: Path, facts: Sequence[Any]) -> bool:
    """Whether the file was found to be as `facts` say, and did not change since."""
    found = path.stat()
    return bool(_memory().get(str(path)) == [found.st_mtime_ns, found.st_size, *facts])


def remember(path: Path, changed: int, size: int, facts: Sequence[Any]) -> None:
    """Note that the file was as `facts` say when its time and size were these.

    Where nothing can be written, it is hashed again next time.
    """
    from rilbench.store.files import write_json

    with suppress(RilbenchError, OSError), alone(MEMORY):
        write_json(cache() / MEMORY, _memory() | {str(path): [changed, size, *facts]})


def _memory() -> dict[str, Any]:
    try:
        values = json.loads((cache() / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet
        return {}
    return values if isinstance(values, dict) else {}
