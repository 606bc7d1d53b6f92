"""Where runs are sent: MLFLOW_TRACKING_URI, or a SQLite file in the working folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

PLAIN = "sqlite:///"
HOST, PORT = "127.0.0.1", 5000  # of `rilbench ui`
SPECIAL = {"%": "%25", "?": "%3F", "#": "%23"}  # characters of a path that a URI must escape


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or `sqlite:///<working folder>/mlflow.db`. SQLite paths are made absolute."""
    return absolute(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db")


def absolute(uri: str) -> str:
    """The URI with the absolute path of its SQLite file, if it names one: MLflow identifies stores by URI."""
    file = database(uri)
    if file is None:
        return uri
    _, _, query = uri.partition("?")
    return sqlite(file) + (f"?{query}" if query else "")


def sqlite(file: Path) -> str:
    """The URI of a SQLite file. With the plain scheme, MLflow would create a folder with the escaped name."""
    escaped = "".join(SPECIAL.get(character, character) for character in str(file))
    return f"sqlite:///{file}" if escaped == str(file) else f"sqlite+pysqlite:///{escaped}"


def database(uri: str) -> Path | None:
    """The absolute path of a SQLite URI's file; None for any other URI. SQLAlchemy parses it, as for MLflow."""
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    path = uri.removeprefix(PLAIN) if uri.startswith(PLAIN) and not re.search("[%?#]", uri) else _parsed(uri)
    return Path(path).resolve() if path and path != ":memory:" and not path.startswith("file:") else None


def _parsed(uri: str) -> str | None:
    """The database of a URI with more than a path; the parser is slow to import."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(uri).database
    except ArgumentError:
        return None


def experiment() -> str:
    """The experiment to use: MLFLOW_EXPERIMENT_NAME, `#` and MLFLOW_EXPERIMENT_ID, or `rilbench`."""
    number = os.environ.get("MLFLOW_EXPERIMENT_ID")
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or (f"#{number}" if number else "rilbench")


def is_http(uri: str) -> bool:
    """Whether a tracking server is behind the URI."""
    return uri.startswith(("http://", "https://"))
