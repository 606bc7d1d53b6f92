"""Checks for reward hacking: held-out rewards, diversity, and scores of disturbed images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread, per_seed
from rilbench.analysis.units import SD
from rilbench.contracts.result import RunResult
from rilbench.store.tables import number
from rilbench_compare.formats import Cell, Sheet
from rilbench_report.study import Study
from rilbench_report.words import SPACE

if TYPE_CHECKING:
    import pandas as pd

DIVERSITY = "diversity"
ABOUT_ITSELF = {("compressibility", "jpeg"), ("incompressibility", "jpeg")}
HELD_OUT = ("hps", "sharpness", "colorfulness", "clip")  # suggestions


def checks(study: Study) -> dict[str, tuple[Sheet | None, str]]:
    """The result of every check by name, and the setting that measures it if there is none."""
    measured = [info.name for info in study.metrics]
    held_out = [name for name in measured if any(_is_held_out(run, name) for run in study.runs)]
    disturbed = [name for name in study.disturbed if name not in without(study)]
    suggested = next(name for name in (*HELD_OUT, "REWARD") if name not in study.rewards)
    gains = study.gains([*study.rewards, *held_out, *disturbed, *study.on_train])
    return {
        "held_out": (
            _sheet(study, "held-out rewards", held_out, partial(_change, study, gains)),
            _setting(study, suggested),
        ),
        "diversity": (
            _sheet(study, "diversity", [DIVERSITY] if DIVERSITY in measured else [], partial(_diversity, study)),
            _setting(study, DIVERSITY),
        ),
        "disturbed": (
            _sheet(study, "share of the gain", disturbed, partial(_remains, study, gains)),
            "evaluate.perturb=[jpeg,blur,shift]",
        ),
        "overfitting": (
            _sheet(study, "share of the gain on training prompts", study.on_train, partial(_generalises, study, gains)),
            "evaluate.train_prompts=50",
        ),
    }


def without(study: Study) -> list[str]:
    """The disturbed columns that are not meaningful: JPEG removes exactly what these rewards measure."""
    return sorted(name for name in study.disturbed if tuple(name.split("@")) in ABOUT_ITSELF)


def _is_held_out(run: RunResult, name: str) -> bool:
    trained, values = run.matrix.trained_rewards(), run.matrix.values(name)
    return f"reward/{name}" in run.plugins and name not in trained and not math.isnan(values[-1])


def _change(study: Study, gains: pd.DataFrame, strategy: str, name: str) -> str:
    runs = [run.name for run in study.of(strategy) if _is_held_out(run, name)]
    own = gains[(gains["label"] == strategy) & (gains["metric"] == name) & gains["run"].isin(runs)]
    if own.empty:
        return "-"
    found = Spread.of(per_seed(own, ["label", "metric"]))
    size = study.units.size(study.of(strategy)[0], SD, name)
    in_sds = "" if math.isnan(size) else f" ({number(found.mean / size)}{SPACE}{SD})"
    return f"{found.text(study.base(name), signed=True)}{in_sds}"


def _diversity(study: Study, strategy: str, name: str) -> str:
    base = study.base(name, study.base_of(strategy))
    return f"{number(base)} → {study.spread(strategy, Quantity.FINAL, name).text(base)}"


def _remains(study: Study, gains: pd.DataFrame, strategy: str, disturbed: str) -> str:
    return _share(study, gains, strategy, disturbed.partition("@")[0], disturbed)


def _generalises(study: Study, gains: pd.DataFrame, strategy: str, on_train: str) -> str:
    return _share(study, gains, strategy, on_train, on_train.partition("@")[0])


def _share(study: Study, gains: pd.DataFrame, strategy: str, whole: str, part: str) -> str:
    """The gain in `part` as a share of that in `whole`, columns of one reward."""
    runs = [run.name for run in study.of(strategy) if whole.partition("@")[0] in run.matrix.trained_rewards()]
    both = gains[(gains["label"] == strategy) & gains["run"].isin(runs)]
    seeds = per_seed(both, ["label", "metric"]).unstack("metric").reindex(columns=[whole, part])
    share = ratio(seeds.dropna().to_numpy())
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


def _sheet(study: Study, title: str, names: Sequence[str], cell: Callable[[str, str], str]) -> Sheet | None:
    """cell: of a strategy and a name."""
    rows = [[Cell(f"{s}{study.mark(s)}"), *(Cell(cell(s, name)) for name in names)] for s in study.labels]
    return Sheet(title, ["strategy", *names], rows) if names else None


def _setting(study: Study, addition: str) -> str:
    """The setting of `rilbench run` that adds a metric to those of the runs."""
    measured = study.texts(study.runs[0]).get("evaluate.metrics", "").replace(" ", "")
    return f"evaluate.metrics=[{','.join(filter(None, [measured, addition]))}]"
