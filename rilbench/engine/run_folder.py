"""The folder of a run: settings, environment, result, table, images. An unfinished result never replaces a finished
one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rilbench.contracts.errors import ConfigError, DamagedError, RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.engine import config as configuration
from rilbench.engine import environment
from rilbench.engine.config import RunConfig
from rilbench.engine.planned import Chain
from rilbench.host.hook_caller import Warn
from rilbench.store import temporary
from rilbench.store.files import read_json, read_text, write_json, write_text
from rilbench.store.grid import save_grid, why_no_picture
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result, planned_evaluations, write_plan
from rilbench.store.tables import markdown

T = TypeVar("T")


@dataclass(frozen=True)
class RunFolder:
    """`finished` is the earlier finished result, if there is one that can be read."""

    path: Path
    finished: RunResult | None

    @property
    def files(self) -> RunFiles:
        """The names of its files."""
        return RunFiles(self.path)

    @classmethod
    def at(cls, path: Path, warn: Warn) -> RunFolder:
        """A folder, which may not exist yet; a damaged result is reported to `warn` and ignored."""
        if not RunFiles(path).result.exists():
            return cls(path, None)
        try:
            result = load_result(path)
        except ConfigError as error:
            warn(f"{error} This is done now")
            return cls(path, None)
        return cls(path, result if result.status == "finished" else None)

    def open(self, config: RunConfig, device: str, evaluations: Sequence[str], chains: Sequence[Chain] = ()) -> None:
        """Write the files of a beginning run; for a finished run, only those that are missing or damaged.

        evaluations: the folders in the store that its rows come from, which `rilbench runs clean` leaves it.
        chains: the pairs that make the model of each row.
        """
        temporary.sweep(self.path)
        files = self.files
        if _whole(lambda: read_json(files.environment, like={"packages": dict})) is None:
            write_json(files.environment, environment.describe(device))
        if self.finished is None or _whole(lambda: planned_evaluations(self.path)) is None:
            write_plan(self.path, evaluations, chains)
        if self.finished is None or _whole(lambda: read_text(files.settings, sealed=True)) is None:
            write_text(files.settings, configuration.to_yaml(config), sealed=True)

    def write(self, result: RunResult) -> None:
        """Write an unfinished result, unless there is a finished one."""
        if self.finished is None:
            write_json(self.files.result, result.to_json())

    def fail(self, result: RunResult) -> RunResult:
        """The result after a failure: the earlier finished one, or this one, written as failed."""
        if self.finished is not None:
            return self.finished
        failed = replace(result, status="failed")
        with suppress(RilbenchError):  # a full disk must not hide the error
            self.write(failed)
        return failed

    def finish(self, result: RunResult, prompts: Sequence[str]) -> RunResult:
        """Write a finished result with its table and the images of `prompts`; if its numbers are those of the stored
        result, write only what is missing or damaged."""
        same = self.finished is not None and _numbers(result) == _numbers(self.finished)
        result = self.finished if same and self.finished else replace(result, status="finished")
        table = markdown(result) + "\n"
        if not same or _whole(lambda: read_text(self.files.table)) != table:
            write_text(self.files.table, table)
        if not same or why_no_picture(self.files.pictures):
            folders = [self.path.parent / row.evaluation for row in result.matrix.rows]
            columns = list(zip(result.matrix.labels, folders, strict=True))
            save_grid(self.files.pictures, columns=columns, prompts=prompts)
        if not same:
            write_json(self.files.result, result.to_json())
        return result


def _whole(read: Callable[[], T]) -> T | None:
    """The content of a file; None if it is missing or damaged."""
    try:
        return read()
    except DamagedError:
        return None


def _numbers(result: RunResult) -> object:
    """The part of a result that can differ if a stage was trained or measured again."""
    values = result.to_json()
    return values["metrics"], values["stages"]
