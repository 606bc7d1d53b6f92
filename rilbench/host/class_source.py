"""The source of a class at the time it was imported or, in a notebook, defined."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType

from rilbench.contracts.errors import PluginError

MAIN = "__main__"  # the module of a notebook, a script and an interactive shell


def source_digest(cls: type, files: Sequence[Path]) -> str:
    """The sha256 of the files that define a class, or of its own text when it is one of a notebook or script.

    Files are read once for a class: one that changes later is not what runs until its module is imported again.
    """
    if cls.__module__ == MAIN:
        return hashlib.sha256(class_source(cls)).hexdigest()
    code = tuple(member.__code__ for member in vars(cls).values() if inspect.isfunction(member))
    return _digest(cls, code, tuple(files))


@lru_cache(maxsize=1024)
def _digest(cls: type, code: tuple[CodeType, ...], files: tuple[Path, ...]) -> str:
    """`code` is new where a notebook reloads a module and puts its functions into the class that is there."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def class_source(cls: type) -> bytes:
    """The text of a class of `__main__` and of its base classes there; nothing else of the notebook or script.

    Raises PluginError for a class that was typed into a shell, whose text is not kept.
    """
    texts = [_text(base) for base in cls.__mro__ if base.__module__ == MAIN]
    return "\n".join(texts).encode()


def _text(cls: type) -> str:
    for file, line in _places(cls):
        lines = linecache.getlines(file)
        tree = ast.parse("".join(lines)) if lines else ast.Module([], [])
        around = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
        for node in around:
            if node.end_lineno and node.lineno <= line <= node.end_lineno:
                return "".join(lines[node.lineno - 1 : node.end_lineno])
    raise PluginError(
        f"the source of the class {cls.__qualname__} cannot be read, so changes to it would go unnoticed; define it, "
        "with at least one method, in a notebook cell, a script or a module"
    )


def _places(cls: type) -> Iterator[tuple[str, int]]:
    """File, or cell, and line of what the class itself defines; methods have both in notebooks too."""
    for member in vars(cls).values():
        function = inspect.unwrap(member) if callable(member) else getattr(member, "__func__", None)
        if inspect.isfunction(function):
            yield function.__code__.co_filename, function.__code__.co_firstlineno
