"""Exchange rates: the effect of one stage on a reward alone, from the base model, on every metric.

Forgetting (Eq. 3) is the fall of a metric, whatever the cause. If a stage on another reward lowers a metric of the base
model, too, for which nothing was trained yet, then the rewards are in conflict, and the fall in a sequence is not
forgetting alone. So the forgetting of a sequence is read relative to these rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from rilbench.analysis.quantities import is_merge, metrics_of
from rilbench.analysis.statistics import over_seeds
from rilbench.analysis.table import model_of
from rilbench.analysis.units import SD, Units, first_reward
from rilbench.contracts.result import RunResult

RAW = "raw"  # the metric's own scale
KEYS = ["label", "reward", "scale", "metric"]


def exchange_rates(runs: Sequence[RunResult], units: Units) -> pd.DataFrame:
    """[label, reward, scale, metric, n, mean, sd, low, high] over seeds; positive is better. scale: `RAW`, or `SD`
    between the base model's prompts, NaN for metrics that score no single image.

    From the first stages of the runs that trained one reward. A model that several methods share, as a merge and the
    sequence that trained its stages do, counts for the first of them only, sequences first.
    """
    names = (*KEYS, "seed", "model", "value")
    rows = pd.DataFrame(_effects(runs, units), columns=pd.Index(names))
    owner = rows.drop_duplicates("model").set_index("model")["label"]
    own = rows[rows["label"] == rows["model"].map(owner)] if len(rows) else rows
    order = {name: list(dict.fromkeys(rows[name])) for name in KEYS}
    texts = own.assign(**{name: pd.Categorical(own[name], order[name], ordered=True) for name in KEYS})
    return over_seeds(texts, KEYS).reset_index()


def _effects(runs: Sequence[RunResult], units: Units) -> Iterator[tuple[Any, ...]]:
    """A row for every run, scale and metric."""
    metrics = [info.name for info in metrics_of(runs)]
    for run in sorted(filter(first_reward, runs), key=is_merge):
        known = {info.name for info in run.matrix.metrics}
        for metric in (name for name in metrics if name in known):
            gain = run.matrix.gain(metric, 0, 1)
            for scale, size in ((RAW, 1.0), (SD, units.size(run, SD, metric))):
                yield run.label, first_reward(run), scale, metric, run.seed, model_of(run, 1), gain / size
