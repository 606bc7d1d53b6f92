"""What commands print."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.contracts.errors import PluginError
from rilbench.engine.terminal import Terminal, echo
from rilbench.model.libraries import quiet_libraries as quiet_libraries
from rilbench.store.files import finite
from rilbench.store.layout import RunFiles

if TYPE_CHECKING:
    from rilbench.engine.memo import Outcome

ENGINE = str(Path(__file__).resolve().parent.parent)


def stdout(*, stderr: bool = False) -> Terminal:
    """Tables keep their width when stdout, or stderr in its place, is a file or a pipe."""
    console = Terminal(stderr=stderr)
    return console if console.is_terminal else Terminal(stderr=stderr, width=200)


def print_json(value: Any) -> None:
    """A value as JSON; numbers that are not finite become null."""
    echo(json.dumps(finite(value), indent=1))


def print_outcome(outcome: Outcome) -> None:
    """The table of a finished run and where everything is."""
    from rilbench.store.tables import terminal

    console = stdout()
    console.print(terminal(outcome.result))
    folder = outcome.folder
    files = RunFiles(folder)
    lines = {"result": files.result, "pictures": files.pictures, "repeat": outcome.result.command}
    for name, value in (lines | outcome.summary).items():
        console.print(f"{name:9} {value}", soft_wrap=True, highlight=False, markup=False)


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """A plain table that breaks long cells rather than cutting them."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(*map(escape, head))
    for row in rows:
        table.add_row(*map(Text, row))
    stdout().print(table)


def print_fields(values: Mapping[str, str]) -> None:
    """Name and value, a line each."""
    width = max(map(len, values))
    for name, value in values.items():
        indented = value.replace("\n", "\n" + " " * (width + 2))
        stdout().print(f"{name:{width}}  {indented}", soft_wrap=True, highlight=False, markup=False)


def plugin_traceback(error: Exception) -> str:
    """The traceback of a plugin's own error, from where the engine called it; empty for any other error."""
    if not isinstance(error, PluginError) or error.__cause__ is None:
        return ""
    told = traceback.TracebackException.from_exception(error.__cause__)
    frames = list(told.stack)
    while frames and (frames[0].filename.startswith((ENGINE, "<frozen")) or "importlib" in frames[0].filename):
        frames.pop(0)
    told.stack = traceback.StackSummary.from_list(frames)
    return "".join(told.format())
