"""Where the numbers come from: settings, plugins, environment, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rilbench_report.runs import Run
from rilbench_report.study import Study
from rilbench_report.tables import Table, table


@dataclass(frozen=True)
class Facts:
    """Keys with one value in all runs, and a table of those that differ; None when none does."""

    same: dict[str, str]
    differing: Table | None


def settings(study: Study) -> Facts:
    return _facts(study, "settings that differ", lambda run: run.settings)


def environment(study: Study) -> Facts:
    return _facts(study, "environments that differ", lambda run: run.environment)


def plugins(study: Study) -> Facts:
    return _facts(study, "plugins that differ", lambda run: run.result.plugins)


def commands(study: Study) -> list[tuple[str, str]]:
    """A run's name and its command line."""
    return [(run.result.name, run.result.command or "(run from Python)") for run in study.runs]


def _facts(study: Study, caption: str, read: Callable[[Run], Mapping[str, str]]) -> Facts:
    keys = list(dict.fromkeys(key for run in study.runs for key in read(run)))
    values = {key: {read(run).get(key, "-") for run in study.runs} for key in keys}
    differing = [key for key in keys if len(values[key]) > 1 and key != "strategy"]
    rows = [[key, *(_distinct(study, strategy, key, read) for strategy in study.strategies)] for key in differing]
    same = {key: next(iter(values[key])) for key in keys if len(values[key]) == 1}
    return Facts(same, table(caption, ["", *study.strategies], rows, words=True) if rows else None)


def _distinct(study: Study, strategy: str, key: str, read: Callable[[Run], Mapping[str, str]]) -> str:
    return " | ".join(dict.fromkeys(read(run).get(key, "-") for run in study.of(strategy)))
