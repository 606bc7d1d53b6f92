"""What all figures share. They carry data and shapes; colours come from the page, light or dark (page.js).

A trace's `meta` says what it is: `role` (line, points, band, runs, mean, front, heat) and `strategy`, its number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

COLOURS = 8  # of the palette
DASHES = ("solid", "dash", "dot")
SYMBOLS = {  # plotly's name of a marker, and the character that looks like it
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "star": "★",
    "triangle-left": "◄",
    "triangle-right": "►",
}

Trace = dict[str, Any]
plain = partial(escape, quote=False)  # plotly reads tags, and of entities only a few


@dataclass(frozen=True)
class Plot:
    """A figure in plotly's JSON, and what it shows in words."""

    figure: dict[str, Any]
    alt: str


@dataclass(frozen=True)
class Style:
    """How a strategy is drawn; no two of the first 64 have colour and symbol in common."""

    colour: int
    symbol: str
    glyph: str
    dash: str

    @classmethod
    def of(cls, i: int) -> Style:
        """Of the strategy with number i."""
        turn = i // COLOURS
        symbol, glyph = list(SYMBOLS.items())[(i + turn) % len(SYMBOLS)]
        return cls(i % COLOURS, symbol, glyph, DASHES[turn % len(DASHES)])


def figure(traces: Sequence[Trace], **layout: Any) -> dict[str, Any]:
    """Checked by plotly and brought into its JSON form."""
    from plotly.graph_objects import Figure

    common = {"template": "none", "showlegend": False, "dragmode": False, "hovermode": "closest"}
    made: dict[str, Any] = Figure({"data": list(traces), "layout": common | layout}).to_plotly_json()
    return made


def known(value: float) -> float | None:
    """None, which plotly leaves out, for NaN."""
    return None if math.isnan(value) else value
