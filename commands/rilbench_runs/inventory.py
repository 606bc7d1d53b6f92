"""The contents of a store: runs, and the stages and evaluations that each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from rilbench.contracts.errors import ConfigError, DamagedError, UsageError
from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles, Store, stage_of
from rilbench.store.results import load_result, planned_evaluations


@dataclass(frozen=True)
class KeptRun:
    """A run's folder. `result` is None if there is none yet, or if it cannot be read; `damage` gives the reason."""

    folder: Path
    result: RunResult | None
    damage: str

    @classmethod
    def at(cls, folder: Path) -> KeptRun:
        """The run in a folder."""
        if not RunFiles(folder).result.exists():
            return cls(folder, None, "")
        try:
            return cls(folder, load_result(folder), "")
        except ConfigError as error:
            return cls(folder, None, str(error))

    @property
    def status(self) -> str:
        """`finished`, `running`, `failed`; `begun` before the first row and `damaged` when it cannot be read."""
        return self.result.status if self.result else "damaged" if self.damage else "begun"

    @property
    def changed(self) -> datetime:
        """When its result was written."""
        file = RunFiles(self.folder).result
        return datetime.fromtimestamp((file if file.exists() else self.folder).stat().st_mtime).astimezone()

    @cached_property
    def planned(self) -> list[str] | None:
        """The evaluations of its rows, as folders in the store; None if unknown."""
        try:
            return [path for path in planned_evaluations(self.folder) if stage_of(path)]
        except DamagedError:
            return None

    @property
    def evaluations(self) -> set[str]:
        """The evaluations it needs, as far as they are recorded."""
        rows = self.result.matrix.rows if self.result else ()
        return {path for path in (*(row.evaluation for row in rows), *(self.planned or ())) if stage_of(path)}

    @property
    def stages(self) -> set[str]:
        """The identities of the stages it needs."""
        return {stage for path in self.evaluations if (stage := stage_of(path))}

    @property
    def certain(self) -> bool:
        """Whether `stages` is complete."""
        return self.status == "finished" or self.planned is not None

    def size(self) -> int:
        """Bytes of its folder and its stages, including shared ones."""
        return size_of([self.folder, *(Store(self.folder.parent).stage(stage).folder for stage in self.stages)])


def runs_in(store: Path) -> list[KeptRun]:
    """The runs of a store, by name; raises UsageError if there is no such folder."""
    if not store.is_dir():
        raise UsageError(f"no store at {str(store)!r}; name another folder, or create one with `rilbench run`")
    return [KeptRun.at(folder) for folder in sorted(store.iterdir()) if _is_own(folder)]


def find(names: Sequence[str], store: Path) -> list[KeptRun]:
    """The runs given by folder or by name in a store, each once; raises UsageError for a missing one."""
    found = {}
    for name in names:
        folder = next((folder for folder in (Path(name), store / name) if _is_own(folder)), None)
        if folder is None:
            raise UsageError(f"no run at {name!r}: neither a run's folder nor the name of a run in {str(store)!r}")
        found[folder.resolve()] = KeptRun.at(folder.resolve())
    return list(found.values())


def _is_own(folder: Path) -> bool:
    """Whether a folder is a run and no link: files outside the store must not be deleted."""
    return RunFiles(folder).is_run and not folder.is_symlink()


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files and of all files in folders."""
    every = (file for path in paths for file in (path, *([] if path.is_symlink() else path.rglob("*"))))
    return sum(file.lstat().st_size for file in every if file.is_symlink() or file.is_file())
