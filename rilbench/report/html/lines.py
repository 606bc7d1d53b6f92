"""A metric over the stages: a line a strategy, the mean over its runs, in a band from the least to the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.report.html.figure import COLOURS, SYMBOLS, Plot, Trace, figure, plain
from rilbench.report.html.study import Study, mean
from rilbench.report.html.words import shorten
from rilbench.report.tables import header, number
from rilbench.result import MetricInfo

TICKS = 50  # characters of a tick's label, all together


def lines(study: Study, info: MetricInfo, strategies: Sequence[str]) -> Plot:
    """The figure; `strategies` are those of the whole report, which number the colours."""
    traces: list[Trace] = []
    told = []
    for strategy in study.strategies:
        stages = _over_stages(study, strategy, info.name)
        if not stages:
            continue
        i, x, means = strategies.index(strategy), list(range(len(stages))), [mean(s) for s in stages]
        if len(study.of(strategy)) > 1:
            traces.append(_band(x, stages) | {"meta": {"role": "band", "strategy": i}})
        traces.append(_line(study, strategy, i) | {"x": x, "y": means})
        told.append(f"{strategy} from {number(means[0])} to {number(means[-1], means[0])}")
    ticks = _stage_names(study)
    xaxis = {"tickvals": list(range(len(ticks))), "ticktext": ticks, "tickangle": 0, "tickfont": {"size": 10}}
    yaxis = {"nticks": 5, "exponentformat": "none"}
    drawn = figure(traces, xaxis=xaxis, yaxis=yaxis, margin={"l": 60, "r": 22, "t": 8, "b": 40})
    return Plot(drawn, f"{header(info)} over the stages, mean over runs: {'; '.join(told) or 'not measured'}.")


def _over_stages(study: Study, strategy: str, metric: str) -> list[list[float]]:
    """The known values of each stage; nothing when a stage has none."""
    runs = [run.matrix.values(metric) for run in study.of(strategy)]
    stages = [[v[i] for v in runs if i < len(v) and not math.isnan(v[i])] for i in range(max(map(len, runs)))]
    return stages if all(stages) else []


def _band(x: Sequence[int], stages: Sequence[Sequence[float]]) -> Trace:
    y = [*map(max, stages), *map(min, reversed(stages))]
    return {"x": [*x, *reversed(x)], "y": y, "fill": "toself", "mode": "lines", "hoverinfo": "skip"}


def _line(study: Study, strategy: str, i: int) -> Trace:
    rows = study.of(strategy)[0].matrix.rows
    one_order = len(study.orders) == 1
    return {
        "name": plain(strategy),
        "text": [plain(row.label) if one_order or not k else f"stage {k}" for k, row in enumerate(rows)],
        "mode": "lines+markers",
        "line": {"width": 2, "dash": "solid" if i < COLOURS else "dash"},
        "marker": {"size": 7, "symbol": SYMBOLS[i % COLOURS]},
        "hovertemplate": "%{fullData.name}, %{text}: %{y:.4g}<extra></extra>",
        "meta": {"role": "line", "strategy": i},
    }


def _stage_names(study: Study) -> list[str]:
    """The number of each stage, and under it its label when all runs that train one reward a stage agree on it."""
    rows = [run.matrix.rows for run in study.runs]
    names, most = ["base"], max(map(len, rows))
    for i in range(1, most):
        labels = {row[i].label for row in rows if i < len(row) and len(row[i].rewards) == 1}
        labels = labels or {row[i].label for row in rows if i < len(row)}
        names.append(f"{i}<br>{plain(shorten(labels.pop(), min(12, TICKS // most)))}" if len(labels) == 1 else str(i))
    return names
