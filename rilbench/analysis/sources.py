"""Where finished runs are read from: run folders, stores, study folders and addresses that a plugin reads; and the
settings and environment in a run's folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rilbench.contracts import redact, untrusted
from rilbench.contracts.errors import ConfigError, DamagedError, UsageError
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench.contracts.yaml_text import parse
from rilbench.engine.progress import Reporter
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, read_text
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result

SHOWN = 3  # names in a message
FindRuns = Callable[[str], Sequence[RunResult]]
Warn = Callable[[str], None]


def load_runs(sources: Sequence[str], find_runs: FindRuns, *, warn: Warn | None = None) -> list[RunResult]:
    """The finished runs at all sources, each once, in the order found.

    sources: run folders; stores, for all runs in them; study folders; anything else is passed to `find_runs`, which is
        `HookCaller.find_runs`. Of runs with the same name, the one on this disk is used, because it has scores.
    warn: receives one line about the runs that are left out, unfinished or unreadable; by default it goes to stderr.

    Raises UsageError for a source without runs, and if no run is finished.
    """
    found: dict[str, RunResult] = {}
    missing: list[str] = []
    broken: list[str] = []
    for source in sources:
        for run in _at(source, find_runs, missing, broken):
            if run.name not in found or found[run.name].folder is None:
                found[run.name] = run
    finished = [run for run in found.values() if _finished(run)]
    begun = [*(run.name for run in found.values() if not _finished(run)), *dict.fromkeys(missing)]
    text = _left_out(len(finished), begun, list(dict.fromkeys(broken)))
    if not finished:
        raise UsageError(f"no finished run at {', '.join(sources)}: {text or '`rilbench run` makes one'}")
    if text:
        (warn or Reporter().warn)(text)
    return finished


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _left_out(finished: int, begun: Sequence[str], broken: Sequence[str]) -> str:
    """One line about the runs that are left out; empty if there are none."""
    of = f"of {finished + len(begun) + len(broken)} runs"
    not_finished = f"{len(begun)} {of} are not finished and left out: {some(begun)}; their commands resume them"
    not_read = f"{len(broken)} {of} cannot be read and are left out: {some(broken)}"
    return "; ".join(text for text, runs in ((not_finished, begun), (not_read, broken)) if runs)


def _finished(run: RunResult) -> bool:
    return run.status == "finished" and bool(run.matrix.rows)


def _at(source: str, find_runs: FindRuns, missing: list[str], broken: list[str]) -> list[RunResult]:
    """Every run at a source that can be read, finished or not; the others' names are added to `missing` when they
    have no result yet, or why they cannot be read to `broken`."""
    folder = Path(source)
    folders = _run_folders(folder) if folder.is_dir() else []
    written = [each for each in folders if RunFiles(each).result.exists()]
    missing += [each.name for each in folders if each not in written]
    runs = [run for each in written if (run := _read(each, broken))] if folders else list(find_runs(source))
    if not runs and not folders:
        raise UsageError(
            f"no runs at {source!r}: it is not a folder of a run, store or study, and no plugin finds runs there"
        )
    return runs


def _run_folders(folder: Path) -> list[Path]:
    """The run folders at a folder: a study's runs, the folder itself, or those in it."""
    if not RunFiles(folder).is_study:
        return [folder] if RunFiles(folder).is_run else [f for f in sorted(folder.iterdir()) if RunFiles(f).is_run]
    file = RunFiles(folder).study  # its runs are next to it in the store
    study = read_json(file)
    names = study.get("runs") if isinstance(study, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{file}: "runs" is not a list of names of run folders; rerun its command')
    return [folder.resolve().parent / untrusted.name(name, str(file)) for name in names]


def _read(folder: Path, broken: list[str]) -> RunResult | None:
    try:
        return load_result(folder)
    except ConfigError as error:
        broken.append(str(error))
        return None


def load_settings(run: RunResult) -> dict[str, Any]:
    """`config.yaml` by dotted key, addresses without their secrets; empty if there is none, as of a tracking server's
    run. Raises DamagedError if it is damaged."""
    file = _own(run, RunFiles.SETTINGS)
    if file is None:
        return {}
    try:
        sections = map(_section, re.split(r"^(?=[^\s#-])", read_text(file), flags=re.MULTILINE))
        return {key: value for section in sections for key, value in section.items()}
    except DamagedError:
        raise
    except ConfigError as error:
        raise damaged(file, error) from None


@lru_cache(maxsize=1000)
def _section(text: str) -> dict[str, Any]:
    """Runs have most sections in common, and reading them takes longer than comparing the runs."""
    values = parse(text, RunFiles.SETTINGS) or {}
    if not isinstance(values, dict):
        raise ConfigError("it contains no settings")
    return flat(redact.values(values))


def load_environment(run: RunResult) -> dict[str, Any]:
    """`environment.json` by dotted key; empty if there is none."""
    file = _own(run, RunFiles.ENVIRONMENT)
    values = read_json(file) if file else {}
    if file and not isinstance(values, dict):
        raise damaged(file, "it is not an object")
    return flat(values)


def _own(run: RunResult, name: str) -> Path | None:
    """A file of the run's folder; None if there is none, or it is a link out of the store."""
    if run.folder is None:
        return None
    folder = run.folder.resolve()
    return untrusted.inside(folder.parent, folder / name)
