"""Figures of finished runs: stage curves, learned against forgotten, gain against drift, a heat map of forgetting.

They are plotly figures for a notebook or a page. `layout.meta["alt"]` describes a figure in words; a trace's
`meta` says what it is: `role` (line, points, band, runs, mean, front, heat) and `strategy`, the method's number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import means, over_seeds
from rilbench.analysis.units import UNITS
from rilbench.contracts.result import MetricInfo
from rilbench.store.tables import header, number

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7a5195", "#666666")
COLOURS = len(PALETTE)
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
TICKS = 50  # characters of the labels of all ticks
FEW = 3  # seeds, below which an interval says nothing
ROW = 34  # pixels

DRIFT = "structure"  # the metric of which drift is the distance to 1

Trace = dict[str, Any]
Asked = tuple[Quantity, str]  # and the metric
Point = tuple[float, float]
plain = partial(escape, quote=False)  # plotly reads tags, and of entities only a few


@dataclass(frozen=True)
class Style:
    """How a method is drawn; no two of the first 64 have colour and symbol in common."""

    colour: int
    symbol: str
    glyph: str
    dash: str

    @classmethod
    def of(cls, i: int) -> Style:
        """Of the method with number i."""
        turn = i // COLOURS
        symbol, glyph = list(SYMBOLS.items())[(i + turn) % len(SYMBOLS)]
        return cls(i % COLOURS, symbol, glyph, DASHES[turn % len(DASHES)])


def stage_curves(table: pd.DataFrame, metric: str) -> Figure:
    """A metric of a long table over the stages: a line per method, the mean over its seeds, in its 95 % interval.

    The stages of a merge are no sequence: its points are not joined, the large one is the merged model.
    """
    own = table[table["metric"] == metric]
    info = MetricInfo(name=metric, unit=own["unit"].iloc[0], higher_is_better=own["higher_is_better"].iloc[0])
    return all_stage_curves(own, [info])[metric]


def all_stage_curves(table: pd.DataFrame, metrics: Sequence[MetricInfo]) -> dict[str, Figure]:
    """`stage_curves` of several metrics, also of those that are not in the table."""
    names, labels = _stage_names(table), list(table["label"].cat.categories)
    merges = table.groupby("label", observed=True)["merge"].any()
    found = over_seeds(table, ["metric", "label", "stage"]).reset_index("stage")
    curves = {key: curve for key, curve in found.groupby(level=[0, 1]) if curve["mean"].notna().all()}
    drawn = sorted(merges.index, key=lambda label: not merges[label])  # lines lie over points
    figures = {}
    for info in metrics:
        shown = [(labels.index(s), s, curves[info.name, s]) for s in drawn if (info.name, s) in curves]
        traces = [trace for i, s, curve in shown for trace in _curve(i, s, curve, names, merge=bool(merges[s]))]
        figures[info.name] = _curves(header(info), traces, names, {s: curve["mean"] for _, s, curve in shown})
    return figures


def _curve(i: int, label: str, curve: pd.DataFrame, names: Sequence[str], *, merge: bool) -> Iterator[Trace]:
    """curve: the columns of `over_seeds` by stage."""
    if curve["n"].min() >= FEW and not merge:
        yield _band(i, curve)
    texts = [names[stage].replace("<br>", " ") for stage in curve["stage"]]
    line = {"name": plain(label), "text": texts, "x": curve["stage"].tolist(), "y": curve["mean"].tolist()}
    look = _points(i, len(texts)) if merge else _line(i)
    yield look | line | {"hovertemplate": "%{fullData.name}, %{text}: %{y:.4g}<extra></extra>"}


def _curves(title: str, traces: Sequence[Trace], names: Sequence[str], means: Mapping[str, pd.Series]) -> Figure:
    ends = [f"{label} from {number(of.iloc[0])} to {number(of.iloc[-1], of.iloc[0])}" for label, of in means.items()]
    alt = f"{title} over the stages, mean over seeds: {'; '.join(ends) or 'not measured'}."
    xaxis = {"tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0, "tickfont": {"size": 10}}
    yaxis = {"title": {"text": plain(title)}, "nticks": 5, "exponentformat": "none"}
    return _figure(traces, alt, xaxis=xaxis, yaxis=yaxis)


def learned_forgotten(table: pd.DataFrame, unit: str, ranked: Collection[str] | None = None) -> Figure:
    """Learned against forgotten, means over the trained rewards in a unit, from a quantity table with both averages.

    Small points are models, large ones methods. The dotted line joins the methods that no other beats on both axes,
    among those `ranked`; default: all that are no merges.
    """
    x, y = (Quantity.AVERAGE_FORGOTTEN, unit), (Quantity.AVERAGE_LEARNED, unit)
    chosen = set(table.loc[~table["merge"], "label"]) if ranked is None else ranked
    titles = (f"forgotten, {unit}<br>(left is better)", f"learned, {unit} (up is better)")
    return _trade_off(table, x, y, chosen, titles)


def gain_drift(table: pd.DataFrame, metric: str, ranked: Collection[str] | None = None) -> Figure:
    """The gain of a reward, or in a unit the mean over rewards, against drift: 1 - structure, from a quantity table
    with `FINAL` and `LEFT` or `AVERAGE`. Points and line as in `learned_forgotten`; default: all methods are ranked.
    """
    y = (Quantity.AVERAGE if metric in UNITS else Quantity.LEFT, metric)
    drift = table["value"].where(table["metric"] != DRIFT, 1 - table["value"])
    chosen = set(table["label"]) if ranked is None else ranked
    gain = "mean gain over the rewards, " if metric in UNITS else "gain of "
    titles = (f"drift, 1 - {DRIFT}<br>(left is better)", f"{gain}{metric} (up is better)")
    return _trade_off(table.assign(value=drift), (Quantity.FINAL, DRIFT), y, chosen, titles)


def _trade_off(table: pd.DataFrame, x: Asked, y: Asked, ranked: Collection[str], titles: tuple[str, str]) -> Figure:
    """Two columns of a quantity table against each other."""
    axes = [(table["quantity"] == quantity.value) & (table["metric"] == metric) for quantity, metric in (x, y)]
    own = table.assign(axis=np.select(axes, ["x", "y"], ""))[axes[0] | axes[1]]
    models = own.drop_duplicates(["label", "model", "axis"])
    models = models.pivot(index=["label", "run", "order", "seed"], columns="axis", values="value")
    models = models.reindex(columns=["x", "y"]).reset_index()
    centre = means(own, ("label", "axis")).pivot(index="label", columns="axis", values="mean")
    centre = centre.reindex(columns=["x", "y"])
    labels = list(table["label"].cat.categories)
    points = {label: (float(row["x"]), float(row["y"])) for label, row in centre.iterrows()}
    candidates = [label for label in labels if label in ranked and label in points]
    best = [candidates[i] for i in front([points[label] for label in candidates])]
    edge = {"mode": "lines", "line": {"shape": "hv", "width": 2, "dash": "dot"}, "hoverinfo": "skip"}
    traces = [_at([points[label] for label in best]) | edge | {"meta": {"role": "front"}, "name": "no other is better"}]
    for label, group in models.groupby("label", observed=True):
        texts = [f"{label}, {order}, seed {seed}" for order, seed in zip(group["order"], group["seed"], strict=True)]
        traces.append(_marked(labels.index(label), "runs", list(zip(group["x"], group["y"], strict=True)), texts))
    traces += [_marked(labels.index(label), "mean", [point], [label]) for label, point in points.items()]
    across, up = (title.partition("<br>")[0].partition(" (")[0] for title in titles)
    texts = [f"{s}: {across} {number(x)}, {up} {number(y)}" for s, (x, y) in points.items() if not math.isnan(x + y)]
    beaten_by_none = f" On the Pareto front: {', '.join(best)}." if best else ""
    xaxis, yaxis = ({"title": {"text": title}, "zeroline": False} for title in titles)
    return _figure(traces, f"{'; '.join(texts)}.{beaten_by_none}", xaxis=xaxis, yaxis=yaxis, height=460)


def heat_map(table: pd.DataFrame, marks: Mapping[str, str] | None = None) -> Figure:
    """Forgetting of a quantity table: methods by metrics, means over seeds.

    Colours compare within a column only, from 0 to its largest value; they go by the square root, so that little and
    much can both be told apart. marks: to add to labels.
    """
    own = means(table[table["quantity"] == Quantity.FORGETTING.value])
    wide = own.pivot(index="label", columns="metric", values="mean")
    shares = wide / wide.max().mask(wide.max() == 0)
    trace = {
        "type": "heatmap",
        "x": [plain(name) for name in wide.columns],
        "y": [plain(f"{label}{(marks or {}).get(label, '')}") for label in wide.index],
        "z": np.sqrt(shares.fillna(0).where(wide.notna())).to_numpy().tolist(),
        "text": [[number(value) for value in row] for row in wide.to_numpy().tolist()],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "showscale": False,
        "meta": {"role": "heat"},
    }
    axis = {"automargin": True, "showgrid": False, "ticks": ""}
    worst = [f"{wide[name].idxmax()} on {name}, {number(wide[name].max())}" for name in wide if wide[name].max() > 0]
    most = f"; the most: {'; '.join(worst)}" if worst else ""
    alt = f"Forgetting, a row per method, a column per metric{most}."
    yaxis = axis | {"autorange": "reversed", "ticksuffix": " "}
    return _figure([trace], alt, xaxis=axis, yaxis=yaxis, height=70 + ROW * len(wide))


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points no other one beats, by growing x: smaller x and larger y are better."""
    there = [(x, y) for x, y in points if not math.isnan(x + y)]
    beaten = {p for p in there if any(x <= p[0] and y >= p[1] and (x, y) != p for x, y in there)}
    return sorted((i for i, p in enumerate(points) if p in there and p not in beaten), key=lambda i: points[i])


def _figure(traces: Sequence[Trace], alt: str, **layout: Any) -> Figure:
    from plotly.graph_objects import Figure

    return Figure({"data": list(traces), "layout": {"hovermode": "closest", "meta": {"alt": alt}} | layout})


def _stage_names(table: pd.DataFrame) -> list[str]:
    """The number of each stage, and under it its label if all runs that train one reward per stage agree on it."""
    rows = table.drop_duplicates(["stage", "trained", "rewards"])
    names, most = ["base"], int(table["stage"].max()) + 1
    for i in range(1, most):
        stage = rows[rows["stage"] == i]
        single = stage[stage["rewards"] == 1]
        labels = set((single if len(single) else stage)["trained"])
        name, longest = labels.pop() if len(labels) == 1 else "", min(12, TICKS // most)
        short = name if len(name) <= longest else f"{name[: longest - 1]}…"
        names.append(f"{i}<br>{plain(short)}" if name else str(i))
    return names


def _band(i: int, curve: pd.DataFrame) -> Trace:
    """Without width where all values are equal, as those of the base model are."""
    low, high = (curve[side].fillna(curve["mean"]).tolist() for side in ("low", "high"))
    look = {"fillcolor": PALETTE[i % COLOURS], "opacity": 0.2, "line": {"width": 0}, "mode": "lines"}
    about = {"fill": "toself", "hoverinfo": "skip", "showlegend": False, "meta": {"role": "band", "strategy": i}}
    x = curve["stage"].tolist()
    return {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]]} | look | about


def _line(i: int) -> Trace:
    style, colour = Style.of(i), {"color": PALETTE[i % COLOURS]}
    line, marker = colour | {"width": 2, "dash": style.dash}, colour | {"size": 7, "symbol": style.symbol}
    return {"mode": "lines+markers", "line": line, "marker": marker, "meta": {"role": "line", "strategy": i}}


def _points(i: int, stages: int) -> Trace:
    sizes, opacity = [6] * (stages - 1) + [11], [0.45] * (stages - 1) + [1.0]
    marker = {"size": sizes, "symbol": Style.of(i).symbol, "opacity": opacity, "color": PALETTE[i % COLOURS]}
    return {"mode": "markers", "marker": marker, "meta": {"role": "points", "strategy": i}}


def _marked(i: int, role: str, points: Sequence[Point], texts: Sequence[str]) -> Trace:
    hover = "%{text}: %{x:.4g}, %{y:.4g}<extra></extra>"
    size, opacity = (15, 1.0) if role == "mean" else (6, 0.4)
    marker = {"size": size, "symbol": Style.of(i).symbol, "color": PALETTE[i % COLOURS]}
    about = {"mode": "markers", "text": list(map(plain, texts)), "meta": {"role": role, "strategy": i}}
    return _at(points) | about | {"marker": marker, "opacity": opacity, "hovertemplate": hover, "name": texts[-1]}


def _at(points: Sequence[Point]) -> Trace:
    return {axis: [float(point[i]) for point in points] for i, axis in enumerate("xy")}
