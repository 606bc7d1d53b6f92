"""The commands this plugin adds to `rilbench`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import Quiet
from rilbench.engine.progress import Reporter
from rilbench.engine.terminal import echo
from rilbench.store.layout import RunFiles
from rilbench_mlflow.ui import PORT


def upload(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, or of a study or store with runs in it")],
    quiet: Quiet = False,
) -> None:
    """Send runs to MLflow that could not be sent, and save the comparison views of several; nothing is sent twice."""
    from rilbench_mlflow.upload import sync, sync_study

    logging.getLogger().setLevel(logging.ERROR)  # the libraries below mlflow announce every retry
    if len(folders) == 1 and RunFiles(folders[0]).result.exists():
        echo(sync(folders[0]))
        return
    with Reporter(quiet=quiet).work("uploading", "run") as advance:
        lines = sync_study(folders, lambda done, total: advance(done, total, ""))
    for name, line in lines.items():
        echo(f"{name:17} {line}")


def ui(port: Annotated[int, typer.Option(help="Port on this machine")] = PORT) -> None:
    """Open the MLflow UI on the runs of this folder, and print links to views of them."""
    from rilbench_mlflow.store import brought_up_to_date
    from rilbench_mlflow.ui import check, serve

    check(port)
    logging.getLogger().setLevel(logging.ERROR)
    for name, line in brought_up_to_date(port).items():
        echo(f"{name:17} {line}")

    raise typer.Exit(serve(port))
