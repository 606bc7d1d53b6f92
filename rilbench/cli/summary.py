"""A one-line description of a command or component, read from its source without importing it."""

from __future__ import annotations

import ast
import warnings
from importlib.machinery import PathFinder
from importlib.util import find_spec


def summary(value: str) -> str:
    """The first line of the docstring of `module:name`; of the module when it defines no function or class of the name.

    Empty when there is none, or no source to read it from.
    """
    module, _, name = value.partition(":")
    try:
        with warnings.catch_warnings(action="ignore"):  # about the source
            tree = ast.parse(_source(module))
    except Exception:  # of a finder, a loader or the parser; importing the module will say what is wrong
        return ""
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
    return (ast.get_docstring(found[-1] if found else tree) or "").partition("\n")[0]


def _source(module: str) -> str:
    top, *parts = module.split(".")
    spec = find_spec(top)
    for part in parts:  # `find_spec` of the whole name would import the packages on the way
        assert spec
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    assert spec
    assert spec.loader
    source: str = spec.loader.get_source(spec.name)  # type: ignore[attr-defined]
    return source
