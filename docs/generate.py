"""Writes the pages of docs/reference from the code: `python docs/generate.py`, which `make docs` runs first."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from rilbench import Metric, Reward, Strategy
from rilbench.cli.group import add
from rilbench.cli.main import rilbench
from rilbench.cli.run import run
from rilbench.contracts.hooks import NAMES, Hooks
from rilbench.testing import checks_for
from rilbench.testing.check import Check

FOLDER = Path(__file__).parent / "reference"
NOTE = "`python docs/generate.py` writes this page from the code.\n\n"


def pages() -> dict[str, str]:
    """File name to text of every generated page."""
    written = {
        "commands.md": f"# Commands\n\n{NOTE}{_below(commands())}",
        "settings.md": _run("rilbench.cli", "settings", "--markdown"),
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


def hooks() -> str:
    """Every hook with its arguments, its meaning, and the plugins of this repository that implement it."""
    return "\n".join(_hook(name) for name in NAMES)


def checks() -> str:
    """Every check of the conformance kit: those of every kind of component first, then those of one kind."""
    checks = {kind: checks_for(kind) for kind in (Reward, Metric, Strategy)}
    common = set.intersection(*(set(found) for found in checks.values()))
    tables = [_table("Every component", [check for check in checks[Reward] if check in common])]
    for kind, found in checks.items():
        tables.append(_table(f"Also every {kind.__name__.lower()}", [check for check in found if check not in common]))
    return "\n".join(tables)


def _hook(name: str) -> str:
    function = getattr(Hooks, name)
    arguments = ", ".join(argument for argument in inspect.signature(function).parameters if argument != "self")
    users = [point.name for point in _own("rilbench.hooks") if name in vars(point.load())]
    used = f"Used by {', '.join(f'`{user}`' for user in users)}." if users else ""
    return f"## `{name}({arguments})`\n\n{inspect.getdoc(function)}\n\n{used}\n"


def _table(title: str, found: Iterable[Check]) -> str:
    rows = "".join(f"| `{check.name}` | {' '.join(check.says.split())} |\n" for check in found)
    return f"## {title}\n\n| check | demand |\n|---|---|\n{rows}"


def _own(group: str) -> list[EntryPoint]:
    return [point for point in distribution("rilbench").entry_points if point.group == group]


def _run(*command: str) -> str:
    """What a module prints, with the plugins of this repository only, whatever else is installed."""
    environment = {**os.environ, "RILBENCH_PLUGINS": "", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-m", *command], env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def _below(text: str) -> str:
    """The text without its title."""
    return text.split("\n", 2)[2]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
