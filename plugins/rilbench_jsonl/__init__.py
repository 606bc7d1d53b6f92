"""`jsonl`: logs the events of a run as one JSON object per line, in `log.jsonl` in the run's folder.

Every line has `time` (when it was written, ISO 8601 in UTC), `event` and `run` (the run's name), and depending on the
event:

run_started      label, strategy, rewards, seed, command, plugins
update           stage, label, update (counted from 1 in each stage), step (of all stages), values: the training curves
validated        stage, label, update, step, values, pictures (their files)
stage_finished   stage (0 is the base model), label, rewards, values, forgetting (as tables show it, without masked
                 metrics), train_seconds, evaluate_seconds
run_finished     values after the last stage, forgetting over the whole run
run_failed       stages (how many rows are finished), error (its class), message

Values are those of `result.json`; non-finite values are null. Updates are logged while a stage trains, at most
`SECONDS` late, with its learning rate, speed and memory. A stage and its updates are logged once, even if the run is
resumed or repeated; the start and the end of every attempt are logged.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from rilbench import hookimpl
from rilbench.contracts.progress import Picture, Progress
from rilbench.contracts.redact import redacted
from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import open_own
from rilbench.store import stage_record
from rilbench.store.files import finite, read_json
from rilbench.store.layout import Store

FILE = "log.jsonl"
LOCK_SECONDS = 60
SECONDS = 5.0  # that updates wait to be logged together
STAGE = ("label", "rewards", "values", "forgetting", "train_seconds", "evaluate_seconds")


@dataclass
class Logged:
    """What was read of a log: its lines up to `end` in a file, by their keys."""

    file: tuple[int, int] = (0, 0)  # device and number; those of another file are read from its beginning
    end: int = 0
    keys: set[tuple[Any, ...]] = field(default_factory=set)


class JsonLog:
    """The hook plugin. What was logged is read from the file; `waiting` are updates that are not written yet."""

    api_version = 1

    def __init__(self) -> None:
        self.waiting: list[Mapping[str, Any]] = []
        self.logged = Logged()
        self.written = 0.0  # when updates were, in seconds of a clock

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Log the start of a run."""
        self.waiting = []
        names = ("label", "strategy", "rewards", "seed", "command", "plugins")
        self._log(folder, result, {"event": "run_started"} | {name: getattr(result, name) for name in names})

    @hookimpl
    def update_finished(self, folder: Path, result: RunResult, progress: Progress) -> None:
        """Log an update, together with those after it of the next seconds."""
        self.waiting.append(_moment("update", progress))
        if time.monotonic() > self.written + SECONDS:
            self._flush(folder, result)

    @hookimpl
    def validated(self, folder: Path, result: RunResult, progress: Progress, pictures: Sequence[Picture]) -> None:
        """Log the numbers of a validation, and where its images are."""
        files = {"pictures": [str(picture.path) for picture in pictures]}
        self._flush(folder, result, _moment("validated", progress) | files)

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        """Log a row, preceded by its training curves (not for the base model and merged stages)."""
        store, row = Store(folder.parent), result.to_json()["stages"][stage]
        record = store.stage(row["stage_id"]).record
        curves = read_json(record)["log"] if record.exists() else []
        before = stage_record.steps(store.stage(row.stage_id).folder for row in result.matrix.rows[:stage])
        updates = [
            {"event": "update", "stage": stage, "label": row["label"], "update": (number := int(entry.pop("update")))}
            | {"step": before + number, "values": entry}
            for entry in curves
        ]
        end = {"event": "stage_finished", "stage": stage} | {name: row[name] for name in STAGE}
        self._flush(folder, result, *updates, end)

    @hookimpl
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """Log the final numbers."""
        final = result.to_json()
        end = {"values": final["stages"][-1]["values"], "forgetting": final["forgetting"]}
        self._log(folder, result, {"event": "run_finished"} | end)

    @hookimpl
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """Log the reason why the run stopped."""
        why = {"error": type(error).__name__, "message": redacted(str(error))}
        self._flush(folder, result, {"event": "run_failed", "stages": len(result.matrix.rows)} | why)

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """The path of the log."""
        return {"log": str(folder / FILE)}

    def _flush(self, folder: Path, result: RunResult, *more: Mapping[str, Any]) -> None:
        """Log the updates that wait, and more."""
        self._log(folder, result, *self.waiting, *more)
        self.waiting, self.written = [], time.monotonic()

    def _log(self, folder: Path, result: RunResult, *entries: Mapping[str, Any]) -> None:
        """Append a line per entry, except stages and updates that the file has; NaN and infinities become null.

        One process at a time. Raises OSError when the log cannot be written, as on a full disk.
        """
        path = folder / FILE
        with (
            FileLock(path.with_name(f".{FILE}.lock"), timeout=LOCK_SECONDS),
            open(path, "a+b", opener=open_own) as file,
        ):
            self.logged = _read(file, self.logged)
            for entry in entries:
                line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "run": result.name, **entry}
                text = json.dumps(finite(line), allow_nan=False).encode() + b"\n"
                if "stage" not in entry or _key(text) not in self.logged.keys:
                    file.write(text)
                    file.flush()
                    self.logged.keys.add(_key(text))
                    self.logged.end += len(text)


def _moment(event: str, progress: Progress) -> dict[str, Any]:
    names = ("stage", "label", "update", "step", "values")
    return {"event": event} | {name: getattr(progress, name) for name in names}


def _read(file: BinaryIO, known: Logged) -> Logged:
    """What a log has, of which a part is known. An incomplete line at its end, which a killed process or a full disk
    may leave, is removed."""
    state = os.fstat(file.fileno())
    if known.file != (state.st_dev, state.st_ino) or state.st_size < known.end:
        known = Logged((state.st_dev, state.st_ino))
    file.seek(known.end)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(known.end + whole)
    known.keys.update(_key(line) for line in content[:whole].splitlines())
    known.end += whole
    return known


def _key(line: bytes) -> tuple[Any, ...]:
    """Event, stage and update of a line; empty if the line is invalid."""
    with suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            return entry.get("event"), entry.get("stage"), entry.get("update")
    return ()
