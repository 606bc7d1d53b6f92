"""Where the numbers come from: settings, plugins, environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rilbench_report.runs import Run
from rilbench_report.study import Study
from rilbench_report.tables import Table, table


def facts(
    study: Study, what: str, read: Callable[[Run], Mapping[str, str]]
) -> tuple[str, dict[str, str], Table | None]:
    """What it is, the keys with one value in all runs, and a table of those that differ; None when none does."""
    found = {run.result.name: read(run) for run in study.runs}
    keys = dict.fromkeys(key for own in found.values() for key in own)
    values = {key: {own.get(key, "-") for own in found.values()} for key in keys}
    of = {s: [found[run.result.name] for run in study.of(s)] for s in study.strategies}
    rows = [
        [key, *(" | ".join(dict.fromkeys(own.get(key, "-") for own in of[s])) for s in study.strategies)]
        for key, several in values.items()
        if len(several) > 1 and key != "strategy"
    ]
    same = {key: next(iter(several)) for key, several in values.items() if len(several) == 1}
    caption = f"{what.lower()} that differ"
    return what, same, table(caption, ["", *study.strategies], rows, words=True) if rows else None
