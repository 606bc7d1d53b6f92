"""Finds and deletes what a store no longer needs: given runs and their unshared stages, and unused files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.contracts.errors import RilbenchError
from rilbench.store import temporary
from rilbench.store.layout import StageFiles, Store
from rilbench.store.locks import LOCK
from rilbench_runs.inventory import KeptRun, runs_in, size_of

RECENT_SECONDS = 3600  # newer files may belong to a run that is starting


@dataclass(frozen=True)
class Removable:
    """A file or folder that can be deleted, and why."""

    path: Path
    why: str

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return size_of([self.path])


def of_runs(runs: Sequence[KeptRun], warn: Callable[[str], None]) -> list[Removable]:
    """What deleting runs of one store removes: their folders, and stages and evaluations that no other run needs.

    Raises RilbenchError when another process is working on one of their stages.
    """
    store, own = Store(runs[0].folder.parent), {run.folder for run in runs}
    places = {store.stage(stage).folder for run in runs for stage in run.stages}
    for folder in sorted(places):
        with _idle(folder) as idle:
            if not idle:
                raise RilbenchError(f"another process is working on {folder}; stop it first")
    places |= {store.folder / path for run in runs for path in run.evaluations}
    others = [run for run in runs_in(store.folder) if run.folder.resolve() not in own]
    unneeded = [each for each in _unneeded(store, others, warn) if each.path in places]
    return [*(Removable(run.folder, "run") for run in runs), *unneeded]


def of_store(store: Path, warn: Callable[[str], None]) -> list[Removable]:
    """What no run of a store needs: temporary files of ended processes, stages and evaluations without a run, and
    checkpoints of trained stages; without anything that another process is using."""
    places = [folder for folder in (store, *store.iterdir()) if folder.is_dir() and not folder.is_symlink()]
    found = [_left(path) for folder in places for path in temporary.leftovers(folder)]  # of runs: no lock is held
    unneeded = [each for each in _unneeded(Store(store), runs_in(store), warn) if not _recent(each.path)]
    for files in _stages(Store(store)):
        with _idle(files.folder) as idle:
            if idle:
                own = [each for each in unneeded if each.path.is_relative_to(files.folder)]
                found += own
                if files.folder not in [each.path for each in own]:  # the stage stays
                    found += _of_stage(files)
    return found


def delete(removable: Sequence[Removable]) -> None:
    """Delete everything; a folder is renamed first, so that it is removed completely or not at all."""
    for each in removable:
        if not each.path.is_dir() or each.path.is_symlink():
            temporary.remove(each.path)
            continue
        with _idle(each.path) as idle, suppress(FileNotFoundError):
            if idle:
                temporary.remove(each.path.rename(temporary.beside(each.path)))


def _unneeded(store: Store, runs: Sequence[KeptRun], warn: Callable[[str], None]) -> list[Removable]:
    """The stages and evaluations that none of the runs needs; empty if it is unknown what one of them needs."""
    unknown = [str(run.folder) for run in runs if not run.certain]
    if unknown:
        warn(
            f"stages are kept because {', '.join(unknown[:3])} may need them: they are unfinished or unreadable. "
            "Rerun their commands or remove them first"
        )
        return []
    stages = {stage for run in runs for stage in run.stages}
    measured = {store.folder / path for run in runs for path in run.evaluations}
    found = []
    for files in _stages(store):
        if files.folder.name not in stages:
            found.append(Removable(files.folder, "stage without a run"))
            continue
        evaluations = [evaluation.folder for evaluation in files.all_evaluations()]
        found += [Removable(folder, "evaluation without a run") for folder in evaluations if folder not in measured]
    return found


def _stages(store: Store) -> list[StageFiles]:
    """The stages of a store, including those that a killed `clean` has renamed."""
    return [StageFiles(path) for path in sorted(store.stages.glob("*")) if path.is_dir() and not path.is_symlink()]


def _of_stage(files: StageFiles) -> Iterator[Removable]:
    """The parts that an idle stage no longer needs."""
    for place in (files.folder, files.evaluations, *(each.folder for each in files.all_evaluations())):
        yield from map(_left, temporary.leftovers(place, alone=True))
    if files.weights.exists() and files.checkpoint.exists():
        yield Removable(files.checkpoint, "checkpoint of a trained stage")


def _left(path: Path) -> Removable:
    return Removable(path, "temporary file of an ended process")


def _recent(folder: Path) -> bool:
    times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*")) if path.name != LOCK]
    return time.time() - max(times) < RECENT_SECONDS


@contextmanager
def _idle(folder: Path) -> Iterator[bool]:
    """Whether no process works on a stage; within the block none can begin to. Other folders have no lock."""
    if not (folder / LOCK).exists():
        yield True
        return
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
