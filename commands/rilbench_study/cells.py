"""The cells of a study: one run each, with the stages it has to train and to evaluate."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import RunResult
from rilbench.engine import identity, unused_settings
from rilbench.engine import run as engine
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig
from rilbench.engine.planned import PlannedStage
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import Warn
from rilbench.store.layout import RunFiles, Store
from rilbench.store.results import load_result
from rilbench_study.definition import Study


@dataclass(frozen=True)
class Work:
    """Work that is done once, however many cells need it: training a stage, or evaluating a stage.

    key: the stage's identity; for an evaluation, followed by a slash and the evaluation's. Also the store folder.
    """

    key: str
    planned: PlannedStage
    training: bool


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a study; `name` is its folder in the store."""

    config: RunConfig
    name: str
    plan: tuple[PlannedStage, ...]
    evaluation: str  # identity of the evaluation

    def __str__(self) -> str:
        return f"{self.config.label} {' > '.join(self.config.rewards)} seed {self.config.seed}"

    @property
    def store(self) -> Path:
        return Path(self.config.store)

    @cached_property
    def work(self) -> tuple[Work, ...]:
        """All work of the cell, in order of execution."""
        every = []
        for planned in self.plan:
            if planned.train is not None:
                every.append(Work(planned.id, planned, training=True))
            every.append(Work(f"{planned.id}/{self.evaluation}", planned, training=False))
        return tuple(every)

    def done(self, work: Work) -> bool:
        """Whether the store has the result of the work."""
        files = Store(self.store).stage(work.planned.id)
        return (files.weights if work.training else files.evaluation(self.evaluation).numbers).exists()

    def result(self) -> RunResult | None:
        """The finished run from the store; None if there is none, or if it is damaged."""
        try:
            result = load_result(self.store / self.name)
        except ConfigError:
            return None
        return result if result.status == "finished" else None

    def command(self, plugins: Sequence[str]) -> str:
        """The shell command that repeats this run alone."""
        given = [text for plugin in plugins for text in ("--plugin", plugin)]
        return shlex.join(["rilbench", "run", "--config", str(RunFiles(self.store / self.name).settings), *given])


def make_cells(study: Study, catalog: Catalog, warn: Warn) -> list[Cell]:
    """All runs of a study, planned and checked without loading weights; ordered by seed.

    Names, settings and files are checked once per method and set of rewards, not per run.
    """
    methods = {label: identity.pinned(config) for label, config in study.methods.items()}
    catalog.check(warn, [text for config in methods.values() for text in config.requires])
    sets = {frozenset(order): order for order in study.orders}
    components = {
        (label, rewards): engine.checked(replace(config, rewards=order), catalog)
        for rewards, order in sets.items()
        for label, config in methods.items()
    }
    cells = [
        _cell(replace(config, rewards=order, seed=seed), components[label, frozenset(order)])
        for seed in study.seeds
        for order in study.orders
        for label, config in methods.items()
    ]
    by_components = {(cell.config.label, frozenset(cell.config.rewards)): cell for cell in cells}
    faults = [
        unused_settings.find(study.given, components[key].parts, [planned.stage for planned in cell.plan])
        for key, cell in by_components.items()
    ]
    nowhere = [key for key in faults[0] if all(key in others for others in faults)]
    unused_settings.require_none({key: f"used by no run of this study ({faults[0][key]})" for key in nowhere})
    return cells


def _cell(config: RunConfig, components: Components) -> Cell:
    plan = engine.planned(config, components)
    return Cell(
        config=config,
        name=engine.run_name(config, components.parts, plan),
        plan=tuple(plan),
        evaluation=identity.digest(components.parts.evaluation_document),
    )
