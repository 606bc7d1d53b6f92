"""`rilbench settings`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import AsJson, Given, catalog
from rilbench.cli.output import print_fields, print_json, print_table, quiet_libraries
from rilbench.engine.terminal import echo

if TYPE_CHECKING:
    from rilbench_explain.reference import Section

Key = Annotated[str | None, typer.Argument(help="One setting, such as train.lr, or a section, such as train")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown page")]


def settings(key: Key = None, plugin: Given = None, markdown: Markdown = False, as_json: AsJson = False) -> None:
    """Print every setting, those of installed plugins too: its meaning, type, range and default."""
    from rilbench.engine.progress import Reporter
    from rilbench_explain import reference as reference

    quiet_libraries()
    warn = Reporter().warn
    with redirect_stdout(sys.stderr):  # whatever a plugin prints while it is imported
        known = catalog(plugin)
        found = reference.find(key, known, warn) if key else list(reference.sections(known, warn))
    if as_json:
        print_json([reference.fields(one) for section in found for one in section.settings])
    elif markdown:
        echo(reference.markdown(found), nl=False)
    else:
        _show(found, key)


def _show(found: list[Section], key: str | None) -> None:
    from rilbench_explain.reference import fields

    rows = [fields(one) for section in found for one in section.settings]
    if not rows:
        echo(f"{key} has no settings")
    elif len(rows) == 1 and rows[0]["key"] == key:
        print_fields({name: value for name, value in rows[0].items() if value})
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
