"""The figures, as plotly's JSON. They carry data and shapes; colours come from the page, light or dark (page.js).

A trace's `meta` says what it is: `role` (line, band, runs, mean, front, heat) and `strategy`, its number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape as escaped
from typing import Any

from rilbench.report.html.study import Study, forgetting, forgotten, learned, mean, relative, value
from rilbench.report.html.words import listed, percent, shorten
from rilbench.report.tables import header, number
from rilbench.result import MetricInfo

COLOURS = 8  # of the palette; from there on lines are dashed
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")
LEVELS = (0, 1, 5, 10, 25, 50, 100, 200, 500, 1000)  # per cent, marked on the scale of the heat map


escape = partial(escaped, quote=False)  # plotly reads tags and a few entities


@dataclass(frozen=True)
class Plot:
    """A figure and what it shows in words."""

    figure: dict[str, Any]
    alt: str


def lines(study: Study, info: MetricInfo, strategies: Sequence[str]) -> Plot:
    """A metric over the stages: mean over a strategy's runs, band from the least to the largest."""
    traces: list[dict[str, Any]] = []
    told = []
    for strategy in study.strategies:
        stages = _over_stages(study, strategy, info.name)
        if not stages:
            continue
        i, x, means = strategies.index(strategy), list(range(len(stages))), [mean(s) for s in stages]
        if len(study.of(strategy)) > 1:
            y = [*map(max, stages), *map(min, reversed(stages))]
            band = {"x": [*x, *reversed(x)], "y": y, "fill": "toself", "mode": "lines", "hoverinfo": "skip"}
            traces.append(band | {"meta": {"role": "band", "strategy": i}})
        traces.append(_line(study, strategy, i) | {"x": x, "y": means})
        told.append(f"{strategy} from {number(means[0])} to {number(means[-1], means[0])}")
    ticks = _stage_names(study)
    axis = {"tickvals": list(range(len(ticks))), "ticktext": ticks, "tickangle": 0, "tickfont": {"size": 10}}
    yaxis = {"nticks": 5, "exponentformat": "none"}
    figure = _figure(traces, xaxis=axis, yaxis=yaxis, margin={"l": 60, "r": 22, "t": 8, "b": 40})
    return Plot(figure, f"{header(info)} over the stages, mean over runs: {'; '.join(told) or 'not measured'}.")


def _over_stages(study: Study, strategy: str, metric: str) -> list[list[float]]:
    """The known values of each stage, up to the last stage that any run measured."""
    runs = [run.matrix.values(metric) for run in study.of(strategy)]
    stages = [[v[i] for v in runs if i < len(v) and not math.isnan(v[i])] for i in range(max(map(len, runs)))]
    return stages if all(stages) else []


def _line(study: Study, strategy: str, i: int) -> dict[str, Any]:
    rows = study.of(strategy)[0].matrix.rows
    one_order = len(study.orders) == 1
    hover = "%{fullData.name}, %{text}: %{y:.4g}<extra></extra>"
    return {
        "name": escape(strategy),
        "text": [escape(row.label) if one_order or not k else f"stage {k}" for k, row in enumerate(rows)],
        "mode": "lines+markers",
        "line": {"width": 2, "dash": "solid" if i < COLOURS else "dash"},
        "marker": {"size": 7, "symbol": SYMBOLS[i % COLOURS]},
        "hovertemplate": hover,
        "meta": {"role": "line", "strategy": i},
    }


def _stage_names(study: Study) -> list[str]:
    """The number of each stage, and under it its label when all runs that train one reward a stage agree on it."""
    rows = [run.matrix.rows for run in study.runs]
    names, most = ["base"], max(map(len, rows))
    for i in range(1, most):
        labels = {row[i].label for row in rows if i < len(row) and len(row[i].rewards) == 1}
        labels = labels or {row[i].label for row in rows if i < len(row)}
        names.append(f"{i}<br>{escape(shorten(labels.pop(), 50 // most))}" if len(labels) == 1 else str(i))
    return names


def heat(study: Study) -> Plot:
    """Forgetting relative to the base value in per cent, strategies by metrics; colour by its square root."""
    shares = [
        [
            study.spread(s, lambda run, m=m: relative(run, m.name, forgetting(run, m.name))).mean  # type: ignore[misc]
            for m in study.metrics
        ]
        for s in study.strategies
    ]
    percents = [[_known(100 * share) for share in row] for row in shares]
    trace = {
        "type": "heatmap",
        "x": [escape(header(m)) for m in study.metrics],
        "y": [escape(s) for s in study.strategies],
        "z": [[None if p is None else math.sqrt(p) for p in row] for row in percents],
        "customdata": percents,
        "text": [[percent(share, signed=False) for share in row] for row in shares],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}: %{customdata:.2f} % of the base value<extra></extra>",
        "zmin": 0,
        "xgap": 2,
        "ygap": 2,
        "colorbar": {"tickvals": [math.sqrt(v) for v in LEVELS], "ticktext": [f"{v} %" for v in LEVELS], "thickness": 12},
        "meta": {"role": "heat"},
    }
    height = 70 + 34 * len(study.strategies)
    axis = {"automargin": True, "showgrid": False, "ticks": ""}
    margin = {"l": 20, "r": 70, "t": 8, "b": 40}
    yaxis = axis | {"autorange": "reversed", "ticksuffix": " "}
    figure = _figure([trace], xaxis=axis, yaxis=yaxis, height=height, margin=margin)
    worst = [(p, s, m.name) for row, s in zip(percents, study.strategies, strict=True) for p, m in _pairs(row, study)]
    told = "; the most: {1} on {2}, {0:.1f} %".format(*max(worst)) if worst else ""
    return Plot(figure, f"Forgetting relative to the base value, a row a strategy, a column a metric{told}.")


def _pairs(row: Sequence[float | None], study: Study) -> list[tuple[float, MetricInfo]]:
    return [(p, m) for p, m in zip(row, study.metrics, strict=True) if p is not None]


def pareto(study: Study) -> Plot:
    """Forgetting (x) against what was learned (y), in per cent of the base values: runs faint, means large, front."""
    traces: list[dict[str, Any]] = []
    means = []
    for i, strategy in enumerate(study.strategies):
        runs = [(100 * forgotten(run), 100 * learned(run)) for run in study.of(strategy)]
        point = (mean([x for x, _ in runs]), mean([y for _, y in runs]))
        means.append(point)
        each = {"x": [_known(x) for x, _ in runs], "y": [_known(y) for _, y in runs], "hoverinfo": "text"}
        names = [escape(f"{strategy}, {run.order}, seed {run.result.seed}") for run in study.of(strategy)]
        traces.append(_points(strategy, i, "runs", size=6) | each | {"text": names})
        traces.append(_points(strategy, i, "mean", size=15) | {"x": [_known(point[0])], "y": [_known(point[1])]})
    best = front(means)
    edge = {"x": [means[i][0] for i in best], "y": [means[i][1] for i in best], "mode": "lines", "hoverinfo": "skip"}
    edge |= {"line": {"shape": "hv", "width": 2, "dash": "dot"}, "name": "Pareto front", "meta": {"role": "front"}}
    titles = ("forgotten, % of base (left is better)", "learned, % of base (up is better)")
    axes = [{"title": {"text": title}, "ticksuffix": " %", "zeroline": False} for title in titles]
    figure = _figure([edge, *traces], xaxis=axes[0], yaxis=axes[1], height=460, margin={"l": 70, "r": 15, "t": 15, "b": 55})
    told = "; ".join(f"{s}: forgotten {x:.1f} %, learned {y:.1f} %" for s, (x, y) in zip(study.strategies, means, strict=True))
    return Plot(figure, f"{told}. On the Pareto front: {listed([study.strategies[i] for i in best])}.")


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points no other one beats, by growing x: smaller x and larger y are better."""
    known = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    return sorted((i for i in known if not any(_beats(points[j], points[i]) for j in known)), key=lambda i: points[i])


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def _points(strategy: str, i: int, role: str, *, size: int) -> dict[str, Any]:
    marker = {"size": size, "symbol": SYMBOLS[i % COLOURS] + ("-open" if i >= COLOURS else "")}
    named = {"mode": "markers+text", "text": [escape(strategy)], "textposition": "top center"} if role == "mean" else {}
    hover = "%{text}: forgotten %{x:.2f} %, learned %{y:.2f} %<extra></extra>"
    return {"mode": "markers", "marker": marker, "name": escape(strategy), "hovertemplate": hover} | named | {
        "meta": {"role": role, "strategy": i}
    }


def _known(number_: float) -> float | None:
    return None if math.isnan(number_) else number_


def _figure(traces: Sequence[dict[str, Any]], **layout: Any) -> dict[str, Any]:
    """Checked by plotly and brought into its JSON form."""
    from plotly.graph_objects import Figure

    common = {"template": "none", "showlegend": False, "dragmode": False, "hovermode": "closest"}
    made: dict[str, Any] = Figure({"data": list(traces), "layout": common | layout}).to_plotly_json()
    return made
