"""The layers of docs/design.md: imports point down, in no circle, and packages outside the core use public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from checkout import ROOT

LAYERS = (  # lowest first; a file imports from its own room and from lower ones
    "contracts",
    "store",
    "host",
    "files",
    "model",
    "encoders",
    "tracking",
    "training",
    "evaluation",
    "engine",
    "analysis",
    "api",
    "testing",
    "cli",
)
OUTSIDE = ("commands", "plugins", "strategies")
PUBLIC = "__init__"  # rilbench/__init__.py: names the public API, from anywhere


@cache
def files() -> dict[str, Path]:
    """Module name to file, of the core and of every package that comes with it."""
    found = {}
    for folder in (ROOT, *(ROOT / name for name in OUTSIDE)):
        for file in sorted(folder.glob("rilbench*/**/*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


@cache
def imports(module: str) -> tuple[tuple[str, str], ...]:
    """(module, name) of every import of rilbench code in a module, those for annotations and inside functions too."""
    return tuple(_imports(ast.parse(files()[module].read_text())))


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rilbench"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full, "") if full in files() else (node.module or "", alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.startswith("rilbench"))


def room(module: str) -> str:
    """The room of a module of the core."""
    return module.split(".")[1] if "." in module else PUBLIC


def core() -> list[str]:
    return [module for module in files() if module.split(".")[0] == "rilbench"]


def test_rooms() -> None:
    rooms = {path.name for path in (ROOT / "rilbench").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(LAYERS)
    assert len(rooms) <= 12


def test_no_arrow_points_up() -> None:
    up = [
        f"{module} -> {target}"
        for module in core()
        if room(module) != PUBLIC
        for target, _ in imports(module)
        if target.startswith("rilbench.") and LAYERS.index(room(target)) > LAYERS.index(room(module))
    ]
    assert not up, "\n".join(up)


def test_the_core_imports_no_package_beside_it() -> None:
    beside = [f"{m} -> {target}" for m in core() for target, _ in imports(m) if target.startswith("rilbench_")]
    assert not beside, "\n".join(beside)


def test_no_circle() -> None:
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module in done:
            return
        for target, _ in imports(module):
            if target in files() and target not in ("rilbench", module):
                visit(target, (*way, module))
        done.add(module)

    for module in files():
        visit(module, ())


@pytest.mark.parametrize("folder", OUTSIDE)
def test_packages_outside_the_core_import_public_names_only(folder: str) -> None:
    private = [
        f"{module} -> {target} {name}"
        for module, file in files().items()
        if file.is_relative_to(ROOT / folder)
        for target, name in imports(module)
        if target.split(".")[0] != module.split(".")[0]
        if any(part.startswith("_") for part in (*target.split("."), name))
    ]
    assert not private, "\n".join(private)
