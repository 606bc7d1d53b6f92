"""`rilbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import AsJson, Plugins, Quiet, catalog
from rilbench.cli.output import echo, print_json

Sources = Annotated[list[str], typer.Argument(help="Run folders, stores, study folders or MLflow addresses; any mix")]


def report(
    sources: Sources,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write")] = Path("report.html"),
    plugin: Plugins = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a report on finished runs as one self-contained HTML file.

    --json prints its file and the worst and best prompts of every stage and metric.
    """
    from rilbench.contracts.errors import UsageError
    from rilbench.engine.progress import Reporter
    from rilbench_report.page import write_report
    from rilbench_report.prompts import records
    from rilbench_report.words import counted

    if output.is_dir():
        raise UsageError(f"{output} is a folder; name the file to write: -o {output / 'report.html'}")
    reporter = Reporter(quiet=quiet)
    study, album = write_report(sources, output, catalog(plugin), reporter.warn, reporter.say)
    if as_json:
        print_json({"report": str(output), "prompts": records(study)})
    else:
        echo(str(output))
    size = output.stat().st_size / 1e6
    echo(f"{counted(len(study.runs), 'run')}, images of {len(album.runs)} of them, {size:.1f} MB", err=True)
