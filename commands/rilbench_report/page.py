"""Puts the page together: everything a browser needs is in the one file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller, Warn
from rilbench.store.files import finite, write_text
from rilbench.store.tables import header
from rilbench_report import provenance, tables
from rilbench_report.checks import checks
from rilbench_report.differences import differences
from rilbench_report.figure import Style
from rilbench_report.heat import heat
from rilbench_report.lines import lines
from rilbench_report.pareto import pareto
from rilbench_report.pictures import Album, album
from rilbench_report.runs import read_runs
from rilbench_report.study import Study
from rilbench_report.summary import sentences
from rilbench_report.variants import variant
from rilbench_report.words import about, counted


def write_report(
    sources: Sequence[str], file: Path, catalog: Catalog, warn: Warn, say: Warn = lambda text: None
) -> tuple[Study, Album]:
    """Write the report on the finished runs at all sources, which are those of `load_runs`; returns what it shows.

    `warn` hears of runs that are left out, `say` of what is going on. UsageError without a finished run.
    """
    from plotly.offline import get_plotlyjs

    say("reading the runs")
    runs, left_out, warnings = read_runs(sources, lambda source: HookCaller(catalog, warn).find_runs(source))
    for line in (*left_out, *warnings):
        warn(line)
    say(f"comparing {counted(len(runs), 'run')}")
    study = Study.about(runs)
    pictures = album(study)
    content = _content(study, catalog, pictures) | {"left_out": left_out, "warnings": warnings}
    say("writing the page")
    write_text(file, _render(content | {"plotly": get_plotlyjs()}))
    return study, pictures


def _content(study: Study, catalog: Catalog, pictures: Album) -> dict[str, Any]:
    views = [*map(study.ordered, study.orders), *([study] if len(study.orders) > 1 else [])]
    panels = {f"lines-{i}": [lines(v, m, study.strategies) for v in views] for i, m in enumerate(study.metrics)}
    plots = {"heat": heat(study), "pareto": pareto(study)}
    return {
        "date": date.today(),
        "study": study,
        "runs": counted(len(study.runs), "run"),
        "sentences": sentences(study),
        "strategies": [(f"{s}{study.mark(s)}", _described(study, catalog, s)) for s in study.strategies],
        "metrics": [(header(m), m.higher_is_better, about(catalog, m.name, "reward", "metric")) for m in study.metrics],
        "overall": tables.final(study, "mean ± 95 % interval over orders and seeds", study.metrics),
        "per_order": [
            tables.final(study.ordered(o), f"{o}: mean ± 95 % interval over seeds", study.metrics) for o in study.orders
        ],
        "differences": differences(study),
        "titles": [header(m) for m in study.metrics],
        "orders": [*study.orders, *(["mean over all orders"] if len(study.orders) > 1 else [])],
        "styles": [(s, Style.of(i)) for i, s in enumerate(study.strategies)],
        "checks": checks(study),
        "album": pictures,
        "facts": [
            ("Settings", provenance.settings(study)),
            ("Plugins", provenance.plugins(study)),
            ("Environment", provenance.environment(study)),
        ],
        "commands": provenance.commands(study),
        "plots": plots,
        "data": {
            "figures": {name: plot.figure for name, plot in plots.items()}
            | {name: [plot.figure for plot in panel] for name, panel in panels.items()},
            "alts": {name: [plot.alt for plot in panel] for name, panel in panels.items()},
            "pictures": pictures.to_json(),
        },
    }


def _described(study: Study, catalog: Catalog, label: str) -> str:
    """What a method is, and what sets it apart from others of its strategy."""
    said = about(catalog, study.of(label)[0].result.strategy, "strategy")
    more = variant(study, label)
    return f"{said.rstrip('.')}. {more}" if more else said


def _render(content: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    room = files(__package__)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    own = {"style": room.joinpath("page.css").read_text(), "script": room.joinpath("page.js").read_text()}
    text = room.joinpath("page.j2").read_text()
    return template.from_string(text).render(content | own | {"json": _script_safe(content["data"])})


def _script_safe(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(finite(value), separators=(",", ":")).replace("<", "\\u003c")
