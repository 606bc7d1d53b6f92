"""`rilbench upload` and `rilbench ui`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import Quiet
from rilbench.cli.output import echo, print_fields
from rilbench.store.layout import RunFiles
from rilbench_mlflow.ui import PORT


def upload(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, or of studies and stores")],
    quiet: Quiet = False,
) -> None:
    """Upload runs to MLflow that could not be uploaded before.

    Also saves the comparison views of several runs. Nothing is uploaded twice.
    """
    from rilbench.engine.progress import Reporter
    from rilbench_mlflow.upload import sync, sync_study

    logging.getLogger().setLevel(logging.ERROR)  # libraries of mlflow announce every retry
    if len(folders) == 1 and RunFiles(folders[0]).result.exists():
        echo(sync(folders[0]))
        return
    with Reporter(quiet=quiet).work("uploading", "run") as advance:
        lines = sync_study(folders, lambda done, total: advance(done, total, ""))
    print_fields(lines)


def ui(port: Annotated[int, typer.Option(help="Port on this machine")] = PORT) -> None:
    """Open the MLflow UI on the runs of this folder and print links to views."""
    from rilbench_mlflow.store import brought_up_to_date
    from rilbench_mlflow.ui import check, serve

    check(port)
    logging.getLogger().setLevel(logging.ERROR)
    print_fields(brought_up_to_date(port))
    raise typer.Exit(serve(port))
