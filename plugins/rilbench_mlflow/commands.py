"""The commands this plugin adds to `rilbench`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def upload(run: Annotated[Path, typer.Argument(help="Folder of a run")]) -> None:
    """Send a run to MLflow that could not be sent while it ran; nothing is sent twice."""
    from rilbench_mlflow.upload import sync

    logging.getLogger().setLevel(logging.ERROR)  # the libraries below mlflow announce every retry
    typer.echo(sync(run))


def ui(port: Annotated[int, typer.Option(help="Port on this machine")] = 5000) -> None:
    """Open the MLflow UI on the runs of this folder."""
    from rilbench_mlflow.ui import serve

    raise typer.Exit(serve(port))
