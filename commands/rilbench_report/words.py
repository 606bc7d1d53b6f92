"""Numbers and names as a report writes them, and what components say of themselves."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from rilbench.analysis.statistics import Spread
from rilbench.contracts.errors import RilbenchError
from rilbench.host.catalog import Catalog
from rilbench.store.tables import number

SPACE = "\N{NO-BREAK SPACE}"
UNKNOWN = "Not installed where this report was made"
ELSEWHERE = {  # what `rilbench evaluate` names as strategies
    "lora": "A LoRA that was trained elsewhere, measured beside its base model",
    "model": "A model that was trained elsewhere, measured alone",
}


def percent(share: float, *, signed: bool = True) -> str:
    """A share as per cent."""
    return "-" if math.isnan(share) else f"{100 * share:{'+' if signed else ''}.1f}{SPACE}%"


def percent_spread(spread: Spread) -> str:
    """Mean ± half-width of shares, as per cent."""
    return percent(spread.mean).replace(f"{SPACE}%", f"{_half(spread)}{SPACE}%")


def points(spread: Spread) -> str:
    """Mean ± half-width of differences of shares, in percentage points."""
    return "-" if math.isnan(spread.mean) else f"{100 * spread.mean:+.1f}{_half(spread)}"


def _half(spread: Spread) -> str:
    return "" if math.isnan(spread.half) else f" ±{100 * spread.half:.1f}"


def from_zero(spread: Spread, like: float) -> str:
    """Mean [low, high] of what cannot be negative, with the decimals of `like`."""
    if math.isnan(spread.half):
        return number(spread.mean, like)
    low, high = (number(max(0.0, v), like) for v in (spread.low, spread.high))
    return f"{number(spread.mean, like)} [{low},{SPACE}{high}]"


def percent_from_zero(spread: Spread) -> str:
    """Mean [low, high] of shares that cannot be negative, as per cent."""
    interval = f" [{100 * max(0.0, spread.low):.1f},{SPACE}{100 * spread.high:.1f}]"
    return percent(spread.mean, signed=False) + ("" if math.isnan(spread.half) else interval)


def listed(names: Sequence[object]) -> str:
    """`a, b and c`."""
    texts = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def counted(n: int, thing: str) -> str:
    """`1 run`, `2 runs`, `2 strategies`."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{n} {thing if n == 1 else plural}"


def about(catalog: Catalog, name: str, *kinds: str) -> str:
    """The first line a component says of itself: its module's when that begins with `name`, else its class's.

    It is read in the source where that is possible: importing a component may import torch.
    """
    kind = next((kind for kind in kinds if name in catalog.names(kind)), None)
    if kind is None:
        return ELSEWHERE.get(name, UNKNOWN)
    plugin = catalog.get(kind, name)
    try:
        of_module, of_class = _in_source(plugin.value) or _documents(plugin.load())
    except RilbenchError:
        return UNKNOWN
    title = f"`{name}`: "
    said = _first_line(of_module).removeprefix(title) if of_module.startswith(title) else _first_line(of_class)
    return said[:1].upper() + said[1:]


def _documents(loaded: type) -> tuple[str, str]:
    return sys.modules[loaded.__module__].__doc__ or "", loaded.__doc__ or ""


def _in_source(value: str) -> tuple[str, str] | None:
    """The docstrings of the module and the class of `module:Class`, also where the module imports the class."""
    module, _, name = value.partition(":")
    package, *inner = module.split(".")
    try:
        spec = find_spec(package)
        origin = Path(spec.origin if spec and spec.origin else "")
        file = origin.parent.joinpath(*inner)
        file = (file / "__init__.py" if file.is_dir() else file.with_suffix(".py")) if inner else origin
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, TypeError):
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ast.get_docstring(tree) or "", ast.get_docstring(node) or ""
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return _in_source(f"{node.module}:{name}")
    return None


def _first_line(document: str) -> str:
    return next((line.strip() for line in document.splitlines() if line.strip()), "No description")
