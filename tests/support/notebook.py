"""Cells of a notebook, without a notebook."""

from __future__ import annotations

import linecache
import sys
import types
from typing import Any

import pytest


def start(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` is that of a notebook, which has no file."""
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))


def cell(text: str, *, kept: bool = True) -> dict[str, Any]:
    """The names that a cell defines. A notebook compiles it under a name of no file and keeps its text for tracebacks;
    a shell does not."""
    name = f"<cell {hash(text)}>"
    if kept:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), names)
    return names
