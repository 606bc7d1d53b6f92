"""Writes the pages of docs/reference from the code: `python docs/generate.py`, which `make docs` runs first."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from rilbench import Metric, Reward, Strategy
from rilbench.cli.group import add
from rilbench.cli.main import rilbench
from rilbench.cli.run import run
from rilbench.contracts.hooks import NAMES, Hooks
from rilbench.host.catalog import Catalog
from rilbench.testing import checks_for
from rilbench_explain import reference
from rilbench_explain.reference import SettingInfo

FOLDER = Path(__file__).parent / "reference"
NOTE = "`python docs/generate.py` writes this page from the code.\n\n"
HEAD = ("setting", "type", "default", "range", "meaning")
SETTINGS = """Set any of them as `key=value` on the command line or in a configuration file. `rilbench settings` prints
those of installed plugins too, `rilbench settings train.lr` a single one. Texts have at most 4,096 characters unless
stated otherwise; numbers are never NaN or infinite.
"""


def pages() -> dict[str, str]:
    """File name to text of every generated page."""
    written = {
        "commands.md": f"# Commands\n\n{NOTE}{_below(commands())}",
        "settings.md": f"# Settings\n\n{NOTE}{settings()}",
        "hooks.md": f"# Hooks\n\n{NOTE}{hooks()}",
        "checks.md": f"# Conformance checks\n\n{NOTE}{checks()}",
    }
    return {name: text.rstrip() + "\n" for name, text in written.items()}


def commands() -> str:
    """Every command with its arguments and options."""
    app = typer.Typer(help=rilbench.__doc__, add_completion=False, rich_markup_mode=None)
    for name, registered in (("run", run), *((point.name, point.load()) for point in _own("rilbench.commands"))):
        add(app, name, registered)
    group = typer.main.get_command(app)
    return get_docs_for_click(obj=group, ctx=typer.Context(group), name="rilbench")


def settings() -> str:
    """Every setting, section by section."""
    sections = list(reference.sections(Catalog(), print))
    tables = [
        _table(f"{section.name}\n\n{section.about}", HEAD, map(_cells, section.settings))
        for section in sections
        if section.settings
    ]
    bare = ", ".join(f"`{section.name}`" for section in sections if not section.settings)
    return "\n".join([SETTINGS, *tables, f"Without settings: {bare}."])


def hooks() -> str:
    """Every hook with its arguments, its meaning, and the plugins of this repository that implement it."""
    return "\n".join(_hook(name) for name in NAMES)


def checks() -> str:
    """Every check of the conformance kit: those of every kind of component first, then those of one kind."""
    checks = {kind: checks_for(kind) for kind in (Reward, Metric, Strategy)}
    common = set.intersection(*(set(found) for found in checks.values()))
    tables = {"Every component": [check for check in checks[Reward] if check in common]}
    for kind, found in checks.items():
        tables[f"Also every {kind.__name__.lower()}"] = [check for check in found if check not in common]
    rows = {title: [(f"`{c.name}`", " ".join(c.says.split())) for c in found] for title, found in tables.items()}
    return "\n".join(_table(title, ("check", "demand"), found) for title, found in rows.items())


def _hook(name: str) -> str:
    function = getattr(Hooks, name)
    arguments = ", ".join(argument for argument in inspect.signature(function).parameters if argument != "self")
    users = [point.name for point in _own("rilbench.hooks") if hasattr(point.load(), name)]
    used = f"Used by {', '.join(f'`{user}`' for user in users)}." if users else ""
    return f"## `{name}({arguments})`\n\n{inspect.getdoc(function)}\n\n{used}\n"


def _cells(one: SettingInfo) -> tuple[str, ...]:
    values = reference.fields(one)
    return f"`{values['key']}`", values["type"], f"`{values['default']}`", values["range"], values["meaning"]


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return f"## {title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _own(group: str) -> list[EntryPoint]:
    return [point for point in distribution("rilbench").entry_points if point.group == group]


def _below(text: str) -> str:
    """The text without its title."""
    return text.split("\n", 2)[2]


if __name__ == "__main__":
    os.environ["RILBENCH_PLUGINS"] = ""  # the plugins of this repository only
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
