"""A new SQLite database of MLflow, which is there whole or not at all.

MLflow makes its tables in 60 migrations that last seconds. One that is killed or meets a full disk half-way leaves a
file that MLflow cannot open again, so it is made under another name and renamed.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from rilbench_mlflow.address import sqlite

TABLES = {"experiments", "alembic_version"}  # the first of MLflow's


def ensure(file: Path) -> None:
    """Make the database if it is missing, empty, or was left half-made; the latter is kept as `NAME.unfinished`.

    The caller holds the file's lock.
    """
    if file.exists() and file.stat().st_size:
        if not _unused(file) or _opens(file):
            return
        os.replace(file, file.with_name(f"{file.name}.unfinished"))
    fresh = file.with_name(f".{file.name}.new")
    _remove(fresh)
    try:
        _open(fresh)
        os.replace(fresh, file)
    finally:
        _remove(fresh)


def _unused(file: Path) -> bool:
    """Whether it is MLflow's and has no run yet."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables & TABLES:
            return "runs" not in tables or connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is None
    return False


def _opens(file: Path) -> bool:
    try:
        _open(file)
    except Exception:
        return False
    return True


def _open(file: Path) -> None:
    """Have MLflow open the database, which makes what is missing in it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(sqlite(file), (file.parent / "mlartifacts").as_uri()).engine.dispose()


def _remove(file: Path) -> None:
    for name in (file.name, f"{file.name}-journal"):
        file.with_name(name).unlink(missing_ok=True)
