"""Learning against forgetting: a faint point a model, a large one a strategy, and the sequences no other beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench_report.figure import Plot, Style, Trace, figure, known, plain
from rilbench_report.measures import forgotten, learned, mean
from rilbench_report.study import Study
from rilbench_report.words import listed

Point = tuple[float, float]


def pareto(study: Study) -> Plot:
    """x: forgotten of the trained rewards, y: learned of them, means relative to the base values in per cent."""
    models = [[(100 * forgotten(run), 100 * learned(run)) for run in study.models(s)] for s in study.strategies]
    means = [(mean([x for x, _ in points]), mean([y for _, y in points])) for points in models]
    ranked = [study.strategies.index(s) for s in study.comparable() if s in study.sequences()]
    best = [ranked[i] for i in front([means[i] for i in ranked])]
    traces = [_edge([means[i] for i in best])]
    traces += [_models(study, i, points) for i, points in enumerate(models)]
    traces += [_strategy(name, i, means[i]) for i, name in enumerate(study.strategies)]
    titles = ("forgotten, % of base<br>(left is better)", "learned, % of base (up is better)")
    xaxis, yaxis = ({"title": {"text": title}, "ticksuffix": " %", "zeroline": False} for title in titles)
    drawn = figure(traces, xaxis=xaxis, yaxis=yaxis, height=460, margin={"l": 70, "r": 15, "t": 15, "b": 65})
    told = [
        f"{s}: forgotten {x:.1f} %, learned {y:.1f} %"
        for s, (x, y) in zip(study.strategies, means, strict=True)
        if not math.isnan(x + y)
    ]
    beaten_by_none = f" On the Pareto front: {listed([study.strategies[i] for i in best])}." if best else ""
    return Plot(drawn, f"{'; '.join(told)}.{beaten_by_none}")


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points no other one beats, by growing x: smaller x and larger y are better."""
    there = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    return sorted((i for i in there if not any(_beats(points[j], points[i]) for j in there)), key=lambda i: points[i])


def _beats(one: Point, other: Point) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def _edge(points: Sequence[Point]) -> Trace:
    return _at(points) | {
        "mode": "lines",
        "line": {"shape": "hv", "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
        "meta": {"role": "front"},
    }


def _models(study: Study, i: int, points: Sequence[Point]) -> Trace:
    strategy = study.strategies[i]
    names = [plain(f"{strategy}, {run.order}, seed {run.result.seed}") for run in study.models(strategy)]
    return (
        _at(points) | _marker(i, size=6) | {"mode": "markers", "text": names, "meta": {"role": "runs", "strategy": i}}
    )


def _strategy(name: str, i: int, point: Point) -> Trace:
    return (
        _at([point])
        | _marker(i, size=15)
        | {"mode": "markers", "text": [plain(name)], "meta": {"role": "mean", "strategy": i}}
    )


def _at(points: Sequence[Point]) -> Trace:
    return {"x": [known(x) for x, _ in points], "y": [known(y) for _, y in points]}


def _marker(i: int, *, size: int) -> Trace:
    hover = "%{text}: forgotten %{x:.2f} %, learned %{y:.2f} %<extra></extra>"
    return {"marker": {"size": size, "symbol": Style.of(i).symbol}, "hovertemplate": hover}
