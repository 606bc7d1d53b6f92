"""Numbers and names as a report writes them, and what components say of themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.analysis.statistics import Spread
from rilbench.cli.summary import summary
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
    """The first line a component says of itself in its source: its module's when that begins with `name`, else its
    class's."""
    kind = next((kind for kind in kinds if name in catalog.names(kind)), None)
    if kind is None:
        return ELSEWHERE.get(name, UNKNOWN)
    value, title = catalog.get(kind, name).value, f"`{name}`: "
    of_module = summary(value.partition(":")[0])
    said = of_module.removeprefix(title) if of_module.startswith(title) else summary(value)
    return f"{said[:1].upper()}{said[1:]}" or "No description"
