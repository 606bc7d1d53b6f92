"""Where runs are sent: MLFLOW_TRACKING_URI, or a SQLite file in the working folder."""

from __future__ import annotations

import os
from pathlib import Path

from rilbench.redact import public as public


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `sqlite:///<working folder>/mlflow.db`. SQLite paths are made absolute."""
    return absolute(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db")


def absolute(uri: str) -> str:
    """The URI with the whole path of its SQLite file, if it is one's: MLflow remembers stores by URI."""
    file = database(uri)
    return f"sqlite:///{file}" if file else uri


def experiment_name() -> str:
    """MLFLOW_EXPERIMENT_NAME, or `rilbench`."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "rilbench"


def database(uri: str) -> Path | None:
    """The absolute path of a SQLite URI's file; None for any other URI."""
    scheme, _, path = uri.partition(":///")
    return Path(path).resolve() if scheme == "sqlite" and path else None


def is_http(uri: str) -> bool:
    """Whether a tracking server is behind the URI."""
    return uri.startswith(("http://", "https://"))
