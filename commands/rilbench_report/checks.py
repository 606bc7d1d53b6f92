"""Checks against reward hacking: rewards nobody trained, diversity, and scores of disturbed pictures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import RunResult
from rilbench.store.tables import number
from rilbench_compare.formats import Cell, Sheet
from rilbench_report.study import Study
from rilbench_report.words import SPACE, percent_spread

if TYPE_CHECKING:
    import pandas as pd

DIVERSITY = "diversity"
ABOUT_ITSELF = {("compressibility", "jpeg"), ("incompressibility", "jpeg")}
HELD_OUT = ("hps", "sharpness", "colorfulness", "clip")  # suggestions


def checks(study: Study) -> dict[str, tuple[Sheet | None, str]]:
    """By name the answer of every check, and the setting that would give it where there is none."""
    return {"held_out": _held_out(study), "diversity": _diversity(study), "disturbed": _disturbed(study)}


def without(study: Study) -> list[str]:
    """The columns of disturbed pictures that say nothing: what JPEG takes away is what these rewards measure."""
    return sorted(name for name in study.disturbed if tuple(name.split("@")) in ABOUT_ITSELF)


def _held_out(study: Study) -> tuple[Sheet | None, str]:
    names = [m.name for m in study.metrics if any(_is_held_out(run, m.name) for run in study.runs)]
    held = {(run.label, run.name, name) for run in study.runs for name in names if _is_held_out(run, name)}
    gains = study.gains(names)
    gains = gains[[key in held for key in zip(gains["label"], gains["run"], gains["metric"], strict=True)]]
    cells = [[_change(study, gains, s, n) for n in names] for s in study.labels]
    suggested = next(n for n in (*HELD_OUT, "REWARD") if n not in study.rewards)
    return _sheet(study, "held-out rewards", names, cells), _setting(study, suggested)


def _is_held_out(run: RunResult, name: str) -> bool:
    trained, values = run.matrix.trained_rewards(), run.matrix.values(name)
    return f"reward/{name}" in run.plugins and name not in trained and not math.isnan(values[-1])


def _change(study: Study, gains: pd.DataFrame, strategy: str, name: str) -> str:
    own = gains[(gains["label"] == strategy) & (gains["metric"] == name)]
    if own.empty:
        return "-"
    absolute, shares = Spread.of(own["value"]), Spread.of(own["value"] / own["base"].abs().replace(0, math.nan))
    return f"{absolute.text(study.base(name), signed=True)} ({percent_spread(shares)})"


def _diversity(study: Study) -> tuple[Sheet | None, str]:
    names = [m.name for m in study.metrics if m.name == DIVERSITY]
    cells = []
    for s in study.labels if names else ():
        base = study.base(DIVERSITY, study.base_of(s))
        cells.append([f"{number(base)} → {study.spread(s, Quantity.FINAL, DIVERSITY).text(base)}"])
    return _sheet(study, "diversity", names, cells), _setting(study, DIVERSITY)


def _disturbed(study: Study) -> tuple[Sheet | None, str]:
    names = [name for name in study.disturbed if name not in without(study)]
    gains = study.gains([*study.rewards, *names])
    cells = [[_remains(gains[gains["label"] == s], name, study) for name in names] for s in study.labels]
    return _sheet(study, "share of the gain", names, cells), "evaluate.perturb=[jpeg,blur,shift]"


def _remains(gains: pd.DataFrame, disturbed: str, study: Study) -> str:
    plain = disturbed.partition("@")[0]
    trained = {run.name for run in study.runs if plain in run.matrix.trained_rewards()}
    both = gains[gains["run"].isin(trained)].pivot(index="run", columns="metric", values="value")
    share = ratio(both.reindex(columns=[plain, disturbed]).dropna().to_numpy())
    if share is None:
        return "-"
    value, low, high = share
    interval = "" if math.isnan(low) else f" [{100 * low:.0f},{SPACE}{100 * high:.0f}]"
    return f"{100 * value:.0f}{SPACE}%{interval}"


def ratio(pairs: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """mean(y) / mean(x) of pairs (x, y) with Fieller's interval (E. C. Fieller, 1954): every R for which Student's t
    test does not reject mean(y - R x) = 0 at 5 %.

    None unless mean(x) is above 0, for certain where there are two pairs; the interval is NaN for a single pair, and
    where all x or all y are equal.
    """
    x, y = Spread.of(pairs[:, 0]), Spread.of(pairs[:, 1])
    if not x.n or not x.mean > 0 or x.low <= 0:
        return None
    value = y.mean / x.mean
    if math.isnan(x.half) or math.isnan(y.half):
        return value, math.nan, math.nan
    between = statistics.correlation(*pairs.T) * x.half * y.half  # half-widths as variances: t^2 times the means'
    a, b, c = x.mean**2 - x.half**2, x.mean * y.mean - between, y.mean**2 - y.half**2
    root = math.sqrt(max(0.0, b**2 - a * c))  # of a R^2 - 2 b R + c = 0
    return value, (b - root) / a, (b + root) / a


def _sheet(study: Study, caption: str, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Sheet | None:
    if not names:
        return None
    rows = [[*map(Cell, (f"{s}{study.mark(s)}", *row))] for s, row in zip(study.labels, cells, strict=True)]
    return Sheet(caption, ["strategy", *names], rows)


def _setting(study: Study, addition: str) -> str:
    """The setting of `rilbench run` that measures more than the runs did."""
    measured = study.texts(study.runs[0]).get("evaluate.metrics", "").replace(" ", "")
    return f"evaluate.metrics=[{','.join(filter(None, [measured, addition]))}]"
