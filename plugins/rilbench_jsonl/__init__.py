"""`jsonl`: what happens in a run, one JSON object a line, in `log.jsonl` in the run's folder.

Every line has `time` (when it was written, ISO 8601 in UTC), `event` and `run` (the run's name), and depending on the
event:

run_started      label, strategy, rewards, seed, command, plugins
update           stage, label, update (counted from 1 in each stage), values: the training curves
stage_finished   stage (0 is the base model), label, rewards, values, forgetting (as tables show it, without masked
                 metrics), train_seconds, evaluate_seconds
run_finished     values after the last stage, forgetting over the whole run, average
run_failed       stages (how many rows are finished), error (its class), message

Values are those of `result.json`; what is not finite is null. A stage and its updates stand in the file once, however
often the run is continued or repeated; the start and the end of every attempt are logged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from rilbench import hookimpl
from rilbench.contracts.redact import redacted
from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import open_own
from rilbench.store.files import finite, read_json
from rilbench.store.layout import Store

FILE = "log.jsonl"
LOCK_SECONDS = 60
STAGE = ("label", "rewards", "values", "forgetting", "train_seconds", "evaluate_seconds")


class JsonLog:
    """The hook plugin. Keeps nothing between two calls: what is logged is read from the file."""

    api_version = 1

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Log what is run."""
        plan = {"label": result.label, "strategy": result.strategy, "rewards": result.rewards, "seed": result.seed}
        with opened(folder / FILE, run=result.name) as log:
            log.write("run_started", **plan, command=result.command, plugins=result.plugins)

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        """Log a row and, before it, its training curves."""
        row = result.to_json()["stages"][stage]
        with opened(folder / FILE, run=result.name) as log:
            for entry in _training(folder.parent, row["stage_id"]):
                values = {key: value for key, value in entry.items() if key != "update"}
                log.write_once("update", stage=stage, update=int(entry["update"]), label=row["label"], values=values)
            log.write_once("stage_finished", stage=stage, **{key: row[key] for key in STAGE})

    @hookimpl
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """Log the final numbers."""
        final = result.to_json()
        values = final["stages"][-1]["values"]
        with opened(folder / FILE, run=result.name) as log:
            log.write("run_finished", values=values, forgetting=final["forgetting"], average=final["average"])

    @hookimpl
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """Log why the run stopped."""
        with opened(folder / FILE, run=result.name) as log:
            log.write(
                "run_failed", stages=len(result.matrix.rows), error=type(error).__name__, message=redacted(str(error))
            )

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """Where the log is."""
        return {"log": str(folder / FILE)}


def _training(store: Path, stage_id: str) -> list[dict[str, Any]]:
    """The logged updates of a stage; none for the base model and merged stages."""
    path = Store(store).stage(stage_id).record
    log: list[dict[str, Any]] = read_json(path)["log"] if path.exists() else []
    return log


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


def _keys(lines: list[bytes]) -> Iterator[tuple[Any, Any, Any]]:
    """Event, stage and update of each line."""
    for line in lines:
        with suppress(ValueError):  # a line that somebody edited
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry.get("event"), entry.get("stage"), entry.get("update")
