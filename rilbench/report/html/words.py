"""Numbers and names as a report writes them, and what components say of themselves."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from rilbench.compare.statistics import Spread
from rilbench.errors import RilbenchError
from rilbench.host.catalog import Catalog
from rilbench.report.tables import number

UNKNOWN = "Not installed where this report was made"
ELSEWHERE = {  # what `rilbench evaluate` names as strategies
    "lora": "A LoRA that was trained elsewhere, measured beside its base model",
    "model": "A model that was trained elsewhere, measured alone",
}


def percent(share: float, *, signed: bool = True) -> str:
    """A share as per cent."""
    if math.isnan(share):
        return "-"
    return f"{100 * share:+.1f} %" if signed else f"{100 * share:.1f} %"


def plus_minus(spread: Spread, like: float) -> str:
    """Mean ± half-width with the decimals of `like`."""
    half = "" if math.isnan(spread.half) else f" ± {number(spread.half, like)}"
    return f"{number(spread.mean, like)}{half}"


def percent_spread(spread: Spread, *, signed: bool = True) -> str:
    """Mean ± half-width of shares, as per cent."""
    half = "" if math.isnan(spread.half) else f" ± {100 * spread.half:.1f}"
    return percent(spread.mean, signed=signed).replace(" %", f"{half} %")


def shorten(name: str, most: int) -> str:
    """A name of at most that many characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def listed(names: Sequence[object]) -> str:
    """`a, b and c`."""
    texts = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def counted(n: int, thing: str) -> str:
    """`1 run`, `2 runs`, `2 strategies`."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{n} {thing if n == 1 else plural}"


def about(catalog: Catalog, name: str, *kinds: str) -> str:
    """The first line a component says of itself: its module's when that begins with `name`, else its class's."""
    kind = next((kind for kind in kinds if name in catalog.names(kind)), None)
    if kind is None:
        return ELSEWHERE.get(name, UNKNOWN)
    try:
        loaded = catalog.get(kind, name).load()
    except RilbenchError:
        return UNKNOWN
    of_module = _first_line(sys.modules[loaded.__module__].__doc__)
    title = f"`{name}`: "
    said = of_module.removeprefix(title) if of_module.startswith(title) else _first_line(loaded.__doc__)
    return said[:1].upper() + said[1:]


def _first_line(document: str | None) -> str:
    return next((line.strip() for line in (document or "").splitlines() if line.strip()), "No description")
