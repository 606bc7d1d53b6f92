"""Formats numbers and names for a report, and reads the descriptions of components."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.analysis.statistics import Spread
from rilbench.cli.summary import summary
from rilbench.host.catalog import Catalog
from rilbench.store.tables import number

SPACE = "\N{NO-BREAK SPACE}"
UNKNOWN = "Not installed on the machine that made this report"
ELSEWHERE = {  # what `rilbench evaluate` names as strategies
    "lora": "A LoRA that was trained elsewhere, compared with its base model",
    "model": "A model that was trained elsewhere, measured on its own",
}


def from_zero(spread: Spread, like: float, unit: str = "") -> str:
    """Mean [low, high] of values that cannot be negative, with the decimals of `like`."""
    low, high = (number(max(0.0, v), like) for v in (spread.low, spread.high))
    interval = "" if math.isnan(spread.half) else f" [{low},{SPACE}{high}]"
    return "-" if math.isnan(spread.mean) else f"{number(spread.mean, like)}{unit}{interval}"


def listed(names: Sequence[object]) -> str:
    """`a, b and c`."""
    texts = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def counted(n: int, thing: str) -> str:
    """`1 run`, `2 runs`, `2 strategies`."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{n} {thing if n == 1 else plural}"


def about(catalog: Catalog, name: str, *kinds: str) -> str:
    """The first docstring line of a component: its module's if that begins with `name`, else its class's."""
    kind = next((kind for kind in kinds if name in catalog.names(kind)), None)
    if kind is None:
        return ELSEWHERE.get(name, UNKNOWN)
    value, title = catalog.get(kind, name).value, f"`{name}`: "
    of_module = summary(value.partition(":")[0])
    said = of_module.removeprefix(title) if of_module.startswith(title) else summary(value)
    return f"{said[:1].upper()}{said[1:]}" or "No description"
