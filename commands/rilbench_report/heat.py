"""The heat map: forgetting relative to the base value, in per cent, strategies by metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.store.tables import header
from rilbench_report.figure import Plot, figure, known, plain
from rilbench_report.measures import forgetting, relative
from rilbench_report.study import Study
from rilbench_report.words import percent

LEVELS = (0, 1, 5, 10, 25, 50, 100, 200, 500, 1000)  # per cent, marked on the scale where there is room
ROW, TICK = 34, 18  # pixels of a row, and between two marks


def heat(study: Study) -> Plot:
    """The figure. Colour goes by the square root, so that little and much can both be told apart."""
    names = [info.name for info in study.metrics]
    shares = [[_share(study, strategy, name) for name in names] for strategy in study.strategies]
    percents = [[known(100 * share) for share in row] for row in shares]
    levels = ticks([p for row in percents for p in row if p is not None], ROW * len(study.strategies))
    scale = {"tickvals": [math.sqrt(v) for v in levels], "ticktext": [f"{v} %" for v in levels], "thickness": 12}
    trace = {
        "type": "heatmap",
        "x": [plain(header(info)) for info in study.metrics],
        "y": [plain(f"{strategy}{study.mark(strategy)}") for strategy in study.strategies],
        "z": [[None if p is None else math.sqrt(p) for p in row] for row in percents],
        "customdata": percents,
        "text": [[percent(share, signed=False) for share in row] for row in shares],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}: %{customdata:.2f} % of the base value<extra></extra>",
        "zmin": 0,
        "xgap": 2,
        "ygap": 2,
        "colorbar": scale,
        "meta": {"role": "heat"},
    }
    axis = {"automargin": True, "showgrid": False, "ticks": ""}
    yaxis = axis | {"autorange": "reversed", "ticksuffix": " "}
    height = 70 + ROW * len(study.strategies)
    drawn = figure([trace], xaxis=axis, yaxis=yaxis, height=height, margin={"l": 20, "r": 70, "t": 8, "b": 40})
    cells = [
        (p, s, n) for s, row in zip(study.strategies, percents, strict=True) for n, p in zip(names, row, strict=True)
    ]
    worst = max((cell for cell in cells if cell[0] is not None), default=None)
    told = f"; the most: {worst[1]} on {worst[2]}, {worst[0]:.1f} %" if worst else ""
    return Plot(drawn, f"Forgetting relative to the base value, a row a strategy, a column a metric{told}.")


def ticks(percents: Sequence[float], height: int) -> list[int]:
    """The levels to mark on a scale of that many pixels, from 0 to the largest value, none on top of another."""
    most = math.sqrt(max(percents, default=0.0)) or 1.0
    marked = [LEVELS[0]]
    for level in LEVELS[1:]:
        if (math.sqrt(level) - math.sqrt(marked[-1])) * height / most >= TICK:
            marked.append(level)
    return marked


def _share(study: Study, strategy: str, metric: str) -> float:
    return study.spread(strategy, lambda run: relative(run, metric, forgetting(run, metric))).mean
