"""What can be deleted from a store: runs with the stages that no other run needs, and what nobody needs any more."""

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
from rilbench.store.layout import StageFiles, Store, stage_of
from rilbench.store.locks import LOCK
from rilbench_runs.inventory import KeptRun, runs_in, size_of

RECENT_SECONDS = 3600  # what was changed since may be the beginning of a run


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
    """What goes when runs of one store do: their folders, and stages and evaluations that no other run needs.

    RilbenchError when another process works on one of their stages.
    """
    store = Store(runs[0].folder.parent)
    own = {run.folder for run in runs}
    others = [run for run in runs_in(store.folder) if run.folder.resolve() not in own]
    stages = {stage for run in runs for stage in run.stages}
    evaluations = {path for run in runs for path in run.evaluations}
    for stage in sorted(stages):
        folder = store.stage(stage).folder
        with _idle(folder) as idle:
            if not idle:
                raise RilbenchError(f"another process works on {folder}; stop it first")
    found = [Removable(run.folder, "the run") for run in runs]
    if _all_known(others, warn):
        needed = {stage for run in others for stage in run.stages}
        measured = {path for run in others for path in run.evaluations}
        found += [Removable(store.stage(s).folder, "a stage of no other run") for s in sorted(stages - needed)]
        kept = [path for path in sorted(evaluations - measured) if stage_of(path) in needed]
        found += [Removable(store.folder / path, "an evaluation of no other run") for path in kept]
    return [each for each in found if each.path.exists()]


def of_store(store: Path, warn: Callable[[str], None]) -> list[Removable]:
    """What no run of a store needs: temporary files of processes that are gone, stages and evaluations without a run,
    checkpoints of stages that are trained. What another process works on is left out."""
    runs = runs_in(store)
    places = [folder for folder in (store, *store.iterdir()) if folder.is_dir() and not folder.is_symlink()]
    left = [path for folder in places for path in temporary.leftovers(folder)]  # of runs and studies: no lock is held
    found = [Removable(path, "left by a process that is gone") for path in left]
    known = _all_known(runs, warn)
    stages = {stage for run in runs for stage in run.stages} if known else None
    evaluations = {path for run in runs for path in run.evaluations} if known else None
    for folder in sorted(Store(store).stages.glob("*")):
        with _idle(folder) as idle:
            if idle and folder.is_dir() and not folder.is_symlink():
                found += _of_stage(folder, stages, evaluations)
    return found


def delete(removable: Sequence[Removable]) -> None:
    """Delete everything; a folder is renamed first, so that it is gone whole or not at all."""
    for each in removable:
        if not each.path.is_dir() or each.path.is_symlink():
            temporary.remove(each.path)
            continue
        with _idle(each.path) as idle, suppress(FileNotFoundError):
            if idle:
                temporary.remove(each.path.rename(temporary.beside(each.path)))


def _of_stage(folder: Path, stages: set[str] | None, evaluations: set[str] | None) -> Iterator[Removable]:
    if stages is not None and folder.name not in stages:
        if not _recent(folder):
            yield Removable(folder, "a stage of no run")
        return
    files = StageFiles(folder)
    measured = [evaluation.folder for evaluation in files.all_evaluations()]
    for place in (folder, files.evaluations, *measured):
        yield from (
            Removable(path, "left by a process that is gone") for path in temporary.leftovers(place, alone=True)
        )
    if files.weights.exists() and files.checkpoint.exists():
        yield Removable(files.checkpoint, "the checkpoint of a trained stage")
    store = Store(folder.parent.parent)
    for path in measured:
        if evaluations is not None and store.relative(path) not in evaluations and not _recent(path):
            yield Removable(path, "an evaluation of no run")


def _all_known(runs: Sequence[KeptRun], warn: Callable[[str], None]) -> bool:
    """Whether every run says which stages it needs."""
    unknown = [str(run.folder) for run in runs if not run.certain]
    if unknown:
        warn(
            f"stages are kept: it is not known which of them {', '.join(unknown[:3])} needs, which did not finish or "
            "cannot be read. Rerun its command or remove it first"
        )
    return not unknown


def _recent(folder: Path) -> bool:
    times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*")) if path.name != LOCK]
    return time.time() - max(times) < RECENT_SECONDS


@contextmanager
def _idle(folder: Path) -> Iterator[bool]:
    """Whether nobody works on a stage; nobody begins to within. Folders that are no stages have no lock."""
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
