"""A metric over the stages: a line a strategy, the mean over its models, in a band that is its 95 % interval.

The stages of a merge are no sequence: its points are not joined, the large one is the merged model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number
from rilbench_report.figure import Plot, Style, Trace, figure, plain
from rilbench_report.measures import is_merge
from rilbench_report.study import Study
from rilbench_report.words import shorten

TICKS = 50  # characters of a tick's label, all together
FEW = 3  # models, below which an interval says nothing


def lines(study: Study, info: MetricInfo, strategies: Sequence[str]) -> Plot:
    """The figure; `strategies` are those of the whole report, which number the colours."""
    traces: list[Trace] = []
    told = []
    for strategy in sorted(study.strategies, key=lambda s: not _merges(study, s)):  # lines lie over points
        spreads = _over_stages(study, strategy, info.name)
        if not spreads:
            continue
        i, x, means = strategies.index(strategy), list(range(len(spreads))), [spread.mean for spread in spreads]
        if min(spread.n for spread in spreads) >= FEW and not _merges(study, strategy):
            traces.append(_band(x, spreads) | {"meta": {"role": "band", "strategy": i}})
        traces.append(_drawn(study, strategy, i, len(x)) | {"x": x, "y": means})
        told.append(f"{strategy} from {number(means[0])} to {number(means[-1], means[0])}")
    ticks = _stage_names(study)
    xaxis = {"tickvals": list(range(len(ticks))), "ticktext": ticks, "tickangle": 0, "tickfont": {"size": 10}}
    yaxis = {"nticks": 5, "exponentformat": "none"}
    drawn = figure(traces, xaxis=xaxis, yaxis=yaxis, margin={"l": 60, "r": 22, "t": 8, "b": 40})
    return Plot(drawn, f"{header(info)} over the stages, mean over models: {'; '.join(told) or 'not measured'}.")


def _merges(study: Study, strategy: str) -> bool:
    return any(map(is_merge, study.of(strategy)))


def _over_stages(study: Study, strategy: str, metric: str) -> list[Spread]:
    """Of each stage; nothing when a stage has no known value."""
    runs = [run.matrix.values(metric) for run in study.models(strategy)]
    stages = [Spread.of([v[i] for v in runs if i < len(v)]) for i in range(max(map(len, runs)))]
    return [] if any(math.isnan(stage.mean) for stage in stages) else stages


def _band(x: Sequence[int], spreads: Sequence[Spread]) -> Trace:
    """Without width where all values are equal, as those of the base model are."""
    halves = [0.0 if math.isnan(spread.half) else spread.half for spread in spreads]
    sides = [(s.mean - half, s.mean + half) for s, half in zip(spreads, halves, strict=True)]
    y = [*(high for _, high in sides), *(low for low, _ in reversed(sides))]
    return {"x": [*x, *reversed(x)], "y": y, "fill": "toself", "mode": "lines", "hoverinfo": "skip"}


def _drawn(study: Study, strategy: str, i: int, stages: int) -> Trace:
    rows, style = study.of(strategy)[0].matrix.rows, Style.of(i)
    one_order = len(study.orders) == 1
    common = {
        "name": plain(strategy),
        "text": [plain(row.label) if one_order or not k else f"stage {k}" for k, row in enumerate(rows)],
        "hovertemplate": "%{fullData.name}, %{text}: %{y:.4g}<extra></extra>",
    }
    if _merges(study, strategy):
        sizes = [6] * (stages - 1) + [11]
        marker = {"size": sizes, "symbol": style.symbol, "opacity": [0.45] * (stages - 1) + [1.0]}
        return common | {"mode": "markers", "marker": marker, "meta": {"role": "points", "strategy": i}}
    return common | {
        "mode": "lines+markers",
        "line": {"width": 2, "dash": style.dash},
        "marker": {"size": 7, "symbol": style.symbol},
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
