"""What commands print."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rilbench.contracts.errors import PluginError
from rilbench.contracts.untrusted import printable

if TYPE_CHECKING:
    from rilbench.contracts.result import RunResult
    from rilbench.engine.memo import Outcome
    from rilbench.engine.terminal import Terminal

CORE = str(Path(__file__).resolve().parent.parent)


def stdout(*, stderr: bool = False) -> Terminal:
    """Tables keep their width when stdout, or stderr in its place, is a file or a pipe."""
    from rilbench.engine.terminal import Terminal

    console = Terminal(stderr=stderr)
    return console if console.is_terminal else Terminal(stderr=stderr, width=200)


def echo(text: Any, *, err: bool = False, nl: bool = True) -> None:
    """Print a text without its control codes."""
    typer.echo(printable(str(text)), err=err, nl=nl)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    from rilbench.engine.progress import Reporter

    Reporter().warn(text)


def print_json(value: Any) -> None:
    """Print a value as JSON; numbers that are not finite become null."""
    from rilbench.store.files import finite

    echo(json.dumps(finite(value), indent=1))


def print_outcome(outcome: Outcome) -> None:
    """Print the table of a finished run and the paths of its files."""
    from rilbench.store import tables
    from rilbench.store.layout import RunFiles

    print_result(outcome.result)
    files = RunFiles(outcome.folder)
    ratios = "\n".join(tables.ratios(outcome.result))
    lines: dict[str, object] = {"gradient norms": ratios} if ratios else {}
    if gains := "\n".join(tables.on_training_prompts(outcome.result)):
        lines["gains on other and on training prompts"] = gains
    lines |= {"result": files.result, "images": files.pictures, "repeat": outcome.result.command}
    print_fields(lines | outcome.summary)


def print_result(result: RunResult) -> None:
    """Print the stage x metric table of a run."""
    from rilbench.store.tables import headers, rows

    title = f"{result.label}: value (forgetting) after each stage, seed {result.seed}"
    print_table(headers(result), rows(result), title=title, numbers=True)


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", numbers: bool = False, err: bool = False
) -> None:
    """Print a table of plain texts; long cells are wrapped, and an empty row is a line across.

    numbers: all columns but the first are numbers. err: print it on stderr.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title) if title else None)
    for i, name in enumerate(head):
        table.add_column(Text(name), justify="right" if numbers and i else "left")
    for row in rows:
        if row:
            table.add_row(*map(Text, row))
        else:
            table.add_section()
    stdout(stderr=err).print(table)


def print_fields(values: Mapping[str, object], *, err: bool = False) -> None:
    """Print a name and a value per line, with the values in one column."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        echo(f"{name:{width}}  " + str(value).replace("\n", "\n" + " " * (width + 2)), err=err)


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Within, whatever a plugin prints goes to stderr; stdout is for results."""
    with redirect_stdout(sys.stderr):
        yield


def plugin_traceback(error: Exception) -> str:
    """The traceback of a plugin's own error, from where rilbench called it; empty for any other error."""
    if not isinstance(error, PluginError) or error.__cause__ is None:
        return ""
    trace = traceback.TracebackException.from_exception(error.__cause__)
    frames = list(trace.stack)
    while frames and (frames[0].filename.startswith((CORE, "<frozen")) or "importlib" in frames[0].filename):
        frames.pop(0)
    trace.stack = traceback.StackSummary.from_list(frames)
    return "".join(trace.format())
