"""Builds the page: a single file with everything a browser needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.analysis.figures import Style, all_stage_curves, gain_drift, heat_map, learned_forgotten
from rilbench.analysis.quantities import AVERAGES, Quantity
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import Spread, chance
from rilbench.analysis.table import long_table
from rilbench.cli.templates import filled
from rilbench.contracts.result import RunResult
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller, Warn
from rilbench.store.files import finite, write_text
from rilbench.store.tables import header
from rilbench_compare import exchange
from rilbench_compare.formats import Cell, Sheet
from rilbench_report import prompts, tables, words
from rilbench_report.checks import checks, without
from rilbench_report.pictures import Album, album
from rilbench_report.study import Study, environment, picture_size, trained_samples
from rilbench_report.words import about, counted, listed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LINES = {"l": 60, "r": 22, "t": 8, "b": 40}  # margins in pixels
FILES = {"style": "css", "script": "js"}
POINTS = {"l": 70, "r": 15, "t": 15, "b": 65}
MARGINS = {"heat": {"l": 20, "r": 20, "t": 8, "b": 40}, "drift": POINTS, "pareto": POINTS}


def write_report(
    sources: Sequence[str], file: Path, catalog: Catalog, warn: Warn, say: Warn = lambda text: None
) -> tuple[Study, Album]:
    """Write the report on the finished runs at all sources (see `load_runs`); returns the study and its images.

    `warn` receives left-out runs, `say` progress messages. Raises UsageError if there is no finished run.
    """
    from plotly.offline import get_plotlyjs

    say("reading the runs")
    left_out: list[str] = []
    warnings: list[str] = []
    runs = load_runs(sources, lambda source: HookCaller(catalog, warn).find_runs(source), warn=left_out.append)
    say(f"comparing {counted(len(runs), 'run')}")
    study = Study.about(runs, warnings.append)
    for line in (*left_out, *warnings):
        warn(line)
    pictures = album(study)
    content = _content(study, catalog, pictures) | {"left_out": left_out, "warnings": warnings}
    say("writing the page")
    write_text(file, _render(content | {"plotly": get_plotlyjs()}))
    return study, pictures


def _content(study: Study, catalog: Catalog, pictures: Album) -> dict[str, Any]:
    panels, by_prompt = _panels(study), prompts.tables(study, pictures)
    heat = heat_map(study.table, {strategy: study.mark(strategy) for strategy in study.labels})
    trade_offs = {"drift": _drifts(study), "pareto": _forgotten(study)}
    plots = {"heat": heat} | {f"{k}-{i}": figure for k, of in trade_offs.items() for i, (_, figure) in enumerate(of)}
    return {
        "date": date,
        "study": study,
        "counted": counted,
        "listed": listed,
        "header": header,
        "sentences": sentences(study),
        "strategies": [(f"{s}{study.mark(s)}", _described(study, catalog, s)) for s in study.labels],
        "metrics": [(header(m), about(catalog, m.name, "reward", "metric")) for m in study.metrics],
        "overall": tables.final(study, "mean ± 95 % interval over orders and seeds"),
        "per_order": [
            tables.final(study, f"{order}: mean ± 95 % interval over seeds", order) for order in study.all_orders
        ],
        "of_rewards": tables.of_rewards(study, "gain over the base: left at the end, and learned in its own stage"),
        "in_units": tables.in_units(study, "mean over the trained rewards"),
        "exchange": exchange.sheets(study),
        "exchange_text": exchange.CAPTION,
        "notes": study.units.notes(study.runs),
        "differences": tables.differences(study, (Quantity.FINAL,)),
        "unit_differences": tables.differences(study, tuple(AVERAGES)),
        "orders": [*study.all_orders, *(["mean over all orders"] if len(study.all_orders) > 1 else [])],
        "styles": [(s, Style.of(i)) for i, s in enumerate(study.labels)],
        "checks": checks(study),
        "without": without(study),
        "album": pictures,
        "by_prompt": by_prompt["runs"],
        "facts": [
            facts(study, "Settings", study.texts),
            facts(study, "Plugins", lambda run: run.plugins),
            facts(study, "Environments", environment),
        ],
        "alts": {name: figure.layout.meta["alt"] for name, figure in plots.items()},
        "trade_offs": {name: [title for title, _ in of] for name, of in trade_offs.items()},
        "data": {
            "figures": {name: _drawn(figure, MARGINS[name.partition("-")[0]]) for name, figure in plots.items()}
            | {name: [_drawn(figure, LINES) for figure in panel] for name, panel in panels.items()},
            "alts": {name: [figure.layout.meta["alt"] for figure in panel] for name, panel in panels.items()},
            "prompts": by_prompt,
            "pictures": {"uris": pictures.uris, "runs": pictures.runs},
        },
    }


def sentences(study: Study) -> list[str]:
    """Paragraphs: what was compared, how it was measured, which strategy is best, which are not ranked."""
    cases = study.cases(study.against)
    unranked = [f"{s} ({counted(len(study.cases(s)), 'run')})" for s in study.labels if study.cases(s) != cases]
    known = vars(words) | {"study": study, "Quantity": Quantity, "unranked": unranked}
    known |= {"chance": chance, "read": Spread.read}
    known["sizes"] = sorted({picture_size(run) for run in study.runs} - {""})
    known["prompts"] = sorted({len(study.prompts(run)) for run in study.runs} - {0})
    known["trained"] = sorted({n for run in study.runs for n in trained_samples(run)})
    paragraphs = filled("rilbench_report", "summary.j2", **known).split("\n\n")
    return list(filter(None, (re.sub(r"[ \n]+", " ", text).strip() for text in paragraphs)))


def _panels(study: Study) -> dict[str, list[Figure]]:
    """For every metric, the curves of every order and, if there are several, of all orders together."""
    table = long_table(study.runs)
    views = [table[table["order"] == order] for order in study.all_orders]
    panels = [all_stage_curves(view, study.metrics) for view in (*views, *([table] if len(views) > 1 else []))]
    return {f"lines-{i}": [panel[info.name] for panel in panels] for i, info in enumerate(study.metrics)}


def _drifts(study: Study) -> list[tuple[str, Figure]]:
    """Title and figure: gain against drift for every reward and unit."""
    quantities = dict.fromkeys(study.rewards, Quantity.LEFT) | dict.fromkeys(study.shown_units, Quantity.AVERAGE)
    comparable = {m: [s for s in study.labels if study.row(s, q, m)["comparable"]] for m, q in quantities.items()}
    titles = {unit: f"mean over the rewards, {study.unit_name(unit)}" for unit in study.shown_units}
    return [(titles.get(m, m), gain_drift(study.table, m, comparable[m])) for m in quantities if study.has_drift]


def _forgotten(study: Study) -> list[tuple[str, Figure]]:
    """Title and figure: learned against forgotten for every unit."""
    ranked = {unit: study.ranked(Quantity.AVERAGE_FORGOTTEN, unit) for unit in study.shown_units}
    return [(study.unit_name(unit), learned_forgotten(study.table, unit, ranked[unit])) for unit in ranked]


def _drawn(figure: Figure, margin: dict[str, int]) -> dict[str, Any]:
    """A figure as JSON; the page adds legend, title and colours."""
    drawn: dict[str, Any] = figure.to_plotly_json()
    layout = {k: v for k, v in drawn["layout"].items() if k not in ("template", "meta")}
    return drawn | {"layout": layout | {"showlegend": False, "dragmode": False, "margin": margin}}


def _described(study: Study, catalog: Catalog, label: str) -> str:
    """The description of a method, and how it differs from its plain strategy."""
    said = about(catalog, study.of(label)[0].strategy, "strategy")
    more = study.variant(label)
    return f"{said.rstrip('.')}. {more}" if more else said


def _render(content: dict[str, Any]) -> str:
    own = {name: files("rilbench_report").joinpath(f"page.{end}").read_text() for name, end in FILES.items()}
    # no text can close the script element
    data = json.dumps(finite(content["data"]), separators=(",", ":"))
    return filled("rilbench_report", "page.html.j2", **content, **own, json=data.replace("<", "\\u003c"))


def facts(
    study: Study, what: str, read: Callable[[RunResult], Mapping[str, str]]
) -> tuple[str, dict[str, str], Sheet | None]:
    """Title, the keys with one value in all runs, and a table of those that differ (None if none does)."""
    found = {run.name: read(run) for run in study.runs}
    keys = dict.fromkeys(key for own in found.values() for key in own)
    values = {key: {own.get(key, "-") for own in found.values()} for key in keys}
    rows = []
    for key in (key for key in keys if len(values[key]) > 1 and key != "strategy"):
        of = ({found[run.name].get(key, "-"): None for run in study.of(s)} for s in study.labels)
        rows.append([Cell(key), *(Cell(" | ".join(several)) for several in of)])
    same = {key: next(iter(several)) for key, several in values.items() if len(several) == 1}
    return what, same, Sheet(f"{what.lower()} that differ", ["", *study.labels], rows) if rows else None
