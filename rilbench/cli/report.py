"""`rilbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import Given, catalog
from rilbench.cli.output import quiet_libraries

Sources = Annotated[list[str], typer.Argument(help="Run folders, stores, study folders, addresses; any mix")]


def report(
    sources: Sources,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write")] = Path("report.html"),
    plugin: Given = None,
) -> None:
    """Write one HTML file about many runs, readable without anything else and without a network."""
    from rilbench.progress import Reporter
    from rilbench.report.html import write_report

    quiet_libraries()
    study, album = write_report(sources, output, catalog(plugin), Reporter().warn)
    typer.echo(str(output))
    size = output.stat().st_size / 1e6
    typer.echo(f"{len(study.runs)} runs, pictures of {len(album.runs)} of them, {size:.1f} MB", err=True)
