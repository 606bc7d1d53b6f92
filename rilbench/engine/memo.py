"""A finished run that is requested again: its result is read without importing a component or torch.

A run that ends without a warning records the states of its input and output files under a digest of the request. The
same request finds this record. If anything differs, the run is planned as usual, and what is missing or damaged is made
again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import ResultMatrix, RunResult
from rilbench.engine.config import RunConfig
from rilbench.engine.identity import digest, pinned
from rilbench.files.states import changed_after, states
from rilbench.host import control
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller, Warn
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import RunFiles, Store
from rilbench.store.results import load_result

CACHES = ("RILBENCH_CACHE", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "HOME")  # where files are looked for
NEWEST = 3  # memos that a run keeps: of requests for it in other words, and of code as it was
LISTS = (control.ALLOW, control.DISABLE, control.STRICT)


class Outcome(NamedTuple):
    """A finished run: its folder, its result, and where its hook plugins put it (name to text)."""

    folder: Path
    result: RunResult
    summary: dict[str, str]


class Memo:
    """A request and its installation, as they were before any file was read, and the run that answers it."""

    def __init__(self, config: RunConfig, catalog: Catalog, given: Mapping[str, Any]) -> None:
        self.config, self.catalog, self.begun = config, catalog, time.time_ns()
        surroundings = [os.getcwd(), {name: os.environ.get(name) for name in (*CACHES, *LISTS)}]
        plugins = [asdict(replace(plugin, loaded=None)) for plugin in catalog.plugins]  # a class is not JSON
        installed = [plugins, states(_code(catalog), ".py")]
        self.digest = digest([asdict(pinned(config)), dict(given), surroundings, installed])

    def result(self) -> RunResult | None:
        """The finished run if none of its input and output files has changed."""
        if self.catalog.extra:  # given for one command, so their code is not known before it is imported
            return None
        for file in Store(Path(self.config.store)).memos(self.digest):
            with suppress(RilbenchError, OSError):
                kept = read_json(file, like={"files": dict})["files"]
                if states(map(Path, kept)) == kept:
                    return load_result(file.parent)
        return None

    def keep(self, folder: Path, result: RunResult, inputs: Mapping[str, str]) -> None:
        """Record that the request has this result, unless a file changed while the run began.

        inputs: the states, after planning, of the files that the run comes from.
        """
        if self.catalog.extra or changed_after(map(Path, inputs), self.begun):
            return
        memo = RunFiles(folder).memo
        with suppress(RilbenchError, OSError):  # a full disk or a store that is only read: the run is finished
            write_json(memo(self.digest), {"files": {**inputs, **states(_outputs(folder, result))}})
            for old in sorted(folder.glob(memo("*").name), key=lambda file: file.stat().st_mtime_ns)[:-NEWEST]:
                old.unlink(missing_ok=True)


def repeat(memo: Memo, warn: Warn) -> Outcome | None:
    """The outcome of an unchanged finished run; None if the run has to be planned.

    Hook plugins are called as in the original run, so that one that missed a call can make up for it. Raises
    PluginError for a required plugin that is not installed.
    """
    result = memo.result()
    if result is None or result.folder is None:
        return None
    if memo.config.requires:
        from rilbench.host import requirements

        requirements.check(memo.config.requires)
    hooks = HookCaller(memo.catalog, warn, enabled=memo.config.tracking, named=memo.config.trackers)
    folder, rows = result.folder, result.matrix.rows
    running = replace(result, status="running", matrix=ResultMatrix((), result.matrix.metrics))
    hooks.call("run_started", folder=folder, result=running)
    for i in range(len(rows)):
        so_far = replace(running, matrix=ResultMatrix(rows[: i + 1], result.matrix.metrics))
        hooks.call("stage_finished", folder=folder, result=so_far, stage=i)
    hooks.call("run_finished", folder=folder, result=result)
    return Outcome(folder, result, hooks.lines("summary", folder=folder, result=result))


def _code(catalog: Catalog) -> list[Path]:
    """The folders, or the files, of the top-level packages of components, which are not imported."""
    tops = {plugin.value.partition(":")[0].partition(".")[0] for plugin in catalog.plugins}
    found: list[Path] = []
    for top in sorted(tops | {"rilbench"}):
        with suppress(ImportError, ValueError):
            if spec := find_spec(top):
                found += map(Path, spec.submodule_search_locations or [spec.origin or top])
    return found


def _outputs(folder: Path, result: RunResult) -> Iterator[Path]:
    files, store = RunFiles(folder), Store(folder.parent)
    yield from (files.result, files.settings, files.environment, files.plan, files.table, files.pictures)
    for row in result.matrix.rows:
        stage = store.stage(row.stage_id)
        yield from (stage.record, stage.weights, stage.adapter, stage.carry, stage.checkpoint)
        yield store.evaluation(row.evaluation).folder
