"""Runs the unfinished cells of a study and keeps its record up to date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError, RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.engine.secret_settings import hidden
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller
from rilbench.store.files import finite, read_json, write_json
from rilbench.store.layout import RunFiles
from rilbench_study.cells import Cell
from rilbench_study.definition import Study
from rilbench_study.graph import Graph
from rilbench_study.pool import Pool
from rilbench_study.progress import StudyProgress
from rilbench_study.schedule import Schedule
from rilbench_study.worker import Event, Job, Runner, Setup

SCHEMA = 1


class StudyRun:
    """A study in progress. `results` and `failures` map names of runs; `plugins` are those given by `--plugin`."""

    def __init__(
        self,
        study: Study,
        graph: Graph,
        catalog: Catalog,
        *,
        workers: int,
        command: str,
        plugins: Sequence[str] = (),
        quiet: bool = False,
    ) -> None:
        self.study, self.graph, self.catalog, self.command, self.plugins = study, graph, catalog, command, plugins
        self.results: dict[str, RunResult] = dict(graph.results)
        self.failures: dict[str, str] = {}
        waiting = [cell for cell in graph.cells if cell.name not in self.results]
        self.workers = min(workers, len(waiting))
        self.schedule = Schedule(waiting, graph.done)
        self.progress = StudyProgress(self.schedule, graph.seconds, runs=len(graph.cells), workers=workers, quiet=quiet)
        self.tracking, self.trackers = (config := graph.cells[0].config).tracking, config.trackers
        self.hooks = HookCaller(catalog, self.progress.warn, enabled=self.tracking, named=self.trackers)

    @property
    def folder(self) -> Path:
        return self.graph.cells[0].store / f"study-{self.study.name}"

    @property
    def finished(self) -> list[RunResult]:
        """The finished runs in the order of the study."""
        return [self.results[cell.name] for cell in self.graph.cells if cell.name in self.results]

    @property
    def failed(self) -> list[Cell]:
        """The failed cells in the order of the study."""
        return [cell for cell in self.graph.cells if cell.name in self.failures]

    def run(self) -> None:
        """Run every unfinished cell; a failed cell does not stop the others.

        KeyboardInterrupt is raised again after the workers are stopped and the record is written.
        """
        if self.schedule.waiting:  # the store of a finished study may be read-only
            self._record("running")
        try:
            with self.progress:
                self._in_processes() if self.workers > 1 else self._here()
        except BaseException:
            with suppress(RilbenchError):  # a full disk must not hide the error
                self._record("interrupted")
            raise
        self._record("failed" if self.failures else "finished")

    def finish(self) -> dict[str, str]:
        """Pass the finished runs to the hook plugins; returns their lines to print, name to text."""
        return self.hooks.lines("study_finished", folder=self.folder, results=self.finished)

    def _here(self) -> None:
        runner = Runner(self.catalog, self.hooks, partial(self._handle, 0))
        while (job := self._next(0)) is not None:
            runner.run(job)

    def _in_processes(self) -> None:
        import torch

        threads = max(1, torch.get_num_threads() // self.workers)
        setup = Setup(
            number=0, threads=threads, extra=self.catalog.extra, tracking=self.tracking, trackers=self.trackers
        )
        Pool([replace(setup, number=i) for i in range(self.workers)], self._next, self._handle).run()

    def _next(self, worker: int) -> Job | None:
        cell = self.schedule.take(worker)
        return None if cell is None else Job(cell.config, cell.command(self.plugins))

    def _handle(self, worker: int, event: Event) -> None:
        """Handle an event of a worker."""
        match event.kind:
            case "warning":
                self.progress.warn(event.text)
            case "over":
                self._over(worker, event.text)
            case "lost":  # a dead worker is replaced once per cell; the second time the cell has failed
                cell = self.schedule.running[worker]
                if self.schedule.retry(worker):
                    self.progress.warn(f"{cell}: {event.text}; trying the run once more")
                else:
                    self._over(worker, f"{event.text}, twice")
            case _:
                if event.kind == "done":
                    self.schedule.done.add(event.text)
                self.progress.work(worker, event)

    def _over(self, worker: int, failure: str) -> None:
        cell = self.schedule.close(worker)
        result = cell.result()
        if failure or result is None:
            failure = failure or "its result is not where the plan has it; was a file changed while the study ran?"
            self.failures[cell.name] = failure
        else:
            self.results[cell.name] = result
            self.schedule.done.update(work.key for work in cell.work)
        self.progress.finished(worker, cell, failure)
        self._record("running")

    def _record(self, status: str) -> None:
        """Write `study.json` (definition, run folders, progress), unless it is up to date."""
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.study.name,
            "status": status,
            "command": self.command,
            "definition": hidden(self.study.definition, self.catalog),
            "runs": [cell.name for cell in self.graph.cells],
            "finished": [result.name for result in self.finished],
            "failed": self.failed_json(),
        }
        file = RunFiles(self.folder).study
        with suppress(ConfigError):  # missing or damaged
            if read_json(file) | {"command": self.command} == json.loads(json.dumps(finite(values))):
                return
        write_json(file, values)

    def failed_json(self) -> list[dict[str, Any]]:
        """Run, method, order, seed and reason of every failed cell."""
        return [
            {
                "run": cell.name,
                "label": cell.config.label,
                "rewards": list(cell.config.rewards),
                "seed": cell.config.seed,
                "reason": self.failures[cell.name],
            }
            for cell in self.failed
        ]
