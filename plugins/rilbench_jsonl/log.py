"""A file that grows by whole lines, also when processes are killed or log the same run at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from rilbench.contracts.untrusted import open_own
from rilbench.store.files import finite

LOCK_SECONDS = 60

Key = tuple[Any, Any, Any]  # event, stage, update


@contextmanager
def opened(path: Path, *, run: str) -> Iterator[Log]:
    """The log of a run, for one process at a time; OSError when it cannot be written, as on a full disk."""
    with (
        FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS),
        open(path, "a+b", opener=open_own) as file,
    ):
        yield Log(file, run)


class Log:
    """Appends to an open file, and knows which stages and updates it holds."""

    def __init__(self, file: BinaryIO, run: str) -> None:
        self._file, self._run = file, run
        self._logged = set(_keys(_whole_lines(file)))

    def write(self, event: str, **fields: Any) -> None:
        """Append one line and hand it to the system at once; NaN and infinities become null."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(finite({"time": time, "event": event, "run": self._run, **fields}), allow_nan=False)
        self._file.write(f"{line}\n".encode())
        self._file.flush()

    def write_once(self, event: str, *, stage: int, update: int | None = None, **fields: Any) -> None:
        """Append one line unless the file has that event of that stage and update."""
        if (event, stage, update) not in self._logged:
            numbers = {"stage": stage} if update is None else {"stage": stage, "update": update}
            self.write(event, **numbers, **fields)


def _whole_lines(file: BinaryIO) -> list[bytes]:
    """The lines of a file, after taking off the half one that a killed process or a full disk may leave."""
    file.seek(0)
    content = file.read()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        file.truncate(end)
    return content[:end].splitlines()


def _keys(lines: list[bytes]) -> Iterator[Key]:
    for line in lines:
        with suppress(ValueError):  # a line that somebody edited
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry.get("event"), entry.get("stage"), entry.get("update")
