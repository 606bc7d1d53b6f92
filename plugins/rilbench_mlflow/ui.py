"""The MLflow UI on the runs of the working folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from rilbench.contracts.errors import RilbenchError
from rilbench_mlflow.address import database, is_http, public, tracking_uri

HOST, PORT = "127.0.0.1", 5000
DEFAULT = f"http://{HOST}:{PORT}"
STOP_SECONDS = 10
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def serve(port: int) -> int:
    """Serve the UI on this machine until it is interrupted; returns its exit code, 0 when interrupted.

    RilbenchError when nothing was logged here, a tracking server has the runs, or the port is taken.
    """
    uri = tracking_uri()
    check(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # The URI goes by the environment: it may hold a password. A session of its own, since mlflow starts
    # the web server as its child and leaves it behind when stopped alone.
    environment = QUIET | dict(os.environ) | {"MLFLOW_BACKEND_STORE_URI": uri}
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            _stop(server)


def check(port: int) -> None:
    """RilbenchError when there is nothing to serve here, or the port is taken."""
    uri = tracking_uri()
    if is_http(uri):
        raise RilbenchError(f"the runs are on {public(uri)} (MLFLOW_TRACKING_URI); open that address in a browser.")
    file = database(uri)
    if file is not None and not file.exists():
        raise RilbenchError(f"no runs yet: {file} does not exist. Start one with `rilbench run`, or change folder.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise RilbenchError(f"cannot use port {port}: {error}. Choose another with --port.") from None


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server and what it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(STOP_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
