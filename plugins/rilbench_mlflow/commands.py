"""`rilbench upload` and `rilbench ui`."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import Quiet
from rilbench.cli.output import echo, print_fields
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.redact import public
from rilbench.store.layout import RunFiles
from rilbench_mlflow.address import HOST, PORT, database, is_http, tracking_uri

STOP_SECONDS = 10
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def upload(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, studies or stores")],
    quiet: Quiet = False,
) -> None:
    """Upload runs to MLflow that could not be sent while they ran.

    With several runs, also saves the views that compare them. Nothing is uploaded twice.
    """
    from rilbench.engine.progress import Reporter
    from rilbench_mlflow.upload import sync, sync_study

    logging.getLogger().setLevel(logging.ERROR)  # libraries of mlflow log every retry
    if len(folders) == 1 and RunFiles(folders[0]).result.exists():
        echo(sync(folders[0]))
        return
    with Reporter(quiet=quiet).work("uploading", "run") as advance:
        lines = sync_study(folders, lambda done, total: advance(done, total, ""))
    print_fields(lines)


def ui(port: Annotated[int, typer.Option(help="Port on this machine")] = PORT) -> None:
    """Serve the MLflow UI for the runs of this folder and print links to its views."""
    check(port)
    logging.getLogger().setLevel(logging.ERROR)
    print_fields(_up_to_date(port))
    raise typer.Exit(_serve(port))


def check(port: int) -> None:
    """Raises RilbenchError when there is nothing to serve, a tracking server has the runs, or the port is in use."""
    uri = tracking_uri()
    if is_http(uri):
        raise RilbenchError(f"the runs are on {public(uri)} (MLFLOW_TRACKING_URI); open that address in a browser")
    file = database(uri)
    if file is not None and not file.exists():
        raise RilbenchError(f"no runs yet: {file} does not exist. Start one with `rilbench run`, or change folder")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RilbenchError(f"cannot use port {port}: {error}. Choose another one with --port") from None


def _up_to_date(port: int) -> dict[str, str]:
    """Synchronize MLflow with the store of this folder and the stores of its runs, and save their views. Returns name
    to address of each view; a failure is one line."""
    from rilbench.engine.progress import Reporter
    from rilbench_mlflow.connection import connected, reason, runs_of
    from rilbench_mlflow.labels import FOLDER
    from rilbench_mlflow.sending import reconcile
    from rilbench_mlflow.study import refresh

    lines: dict[str, str] = {}
    try:
        with connected(tracking_uri()) as client:
            folders = [Path(run.data.tags[FOLDER]) for run in runs_of(client, tracking_uri()).values()]
        stores = sorted({Path("runs").resolve(), *(folder.parent for folder in folders)})
        for store in filter(Path.is_dir, stores):
            reconcile(store, Reporter().warn)
            many = f" of {store}" if lines else ""
            lines |= {f"{name}{many}": text for name, text in refresh(store).items()}
    except Exception as error:
        lines["mlflow"] = f"not up to date: {reason(error)}"
    default, here = f"http://{HOST}:{PORT}/", f"http://{HOST}:{port}/"
    return {n: text.replace(default, here).removesuffix(" (rilbench ui serves it)") for n, text in lines.items()}


def _serve(port: int) -> int:
    """Serve the UI on this machine until it is interrupted; returns its exit code, 0 when interrupted."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # The URI is passed in the environment because it may contain a password. The server gets its own session because
    # mlflow starts the web server as a child process and does not stop it.
    environment = QUIET | dict(os.environ) | {"MLFLOW_BACKEND_STORE_URI": tracking_uri()}
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and its child processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
