"""Where the names of points go, so that few of them lie on each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 0.011, 0.055  # of a character and a line, as shares of the plot
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top
EDGES = [(-1.0, -1.0, -0.1, 2.0), (1.1, -1.0, 2.0, 2.0)]  # beyond them a name is cut


def sides(points: Sequence[Point], names: Sequence[str], field: Sequence[Point]) -> list[str]:
    """Plotly's text position of each name: the side that the fewest names and points lie on.

    field: all points of the plot, which decide its range.
    """
    scaled = [_scaled(point, field) for point in points]
    taken = [_box(at, -WIDTH, WIDTH, 0) for at in scaled] + EDGES
    chosen = []
    for at, name in zip(scaled, names, strict=True):
        boxes = _around(at, WIDTH * len(name))
        side = min(boxes, key=lambda side: sum(_overlap(boxes[side], other) for other in taken))
        taken.append(boxes[side])
        chosen.append(side)
    return chosen


def _scaled(point: Point, field: Sequence[Point]) -> Point:
    """A point in a plot of width and height 1."""
    x, y = (_share(point[axis], [p[axis] for p in field]) for axis in (0, 1))
    return x, y


def _share(value: float, values: Sequence[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    width = max(known) - min(known) if known else 0.0
    return (value - min(known)) / width if width else 0.5


def _around(at: Point, width: float) -> dict[str, Box]:
    """The places of a name by side, the preferred one first."""
    return {
        "top center": _box(at, -width / 2, width / 2, 1.1 * HEIGHT),
        "bottom center": _box(at, -width / 2, width / 2, -1.1 * HEIGHT),
        "middle right": _box(at, 0.015, 0.015 + width, 0),
        "middle left": _box(at, -0.015 - width, -0.015, 0),
    }


def _box(at: Point, left: float, right: float, up: float) -> Box:
    return at[0] + left, at[1] + up - HEIGHT / 2, at[0] + right, at[1] + up + HEIGHT / 2


def _overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
