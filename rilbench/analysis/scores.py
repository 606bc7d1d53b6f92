"""Scores of single prompts, read from the store of a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import inside
from rilbench.store.checksums import check, reading
from rilbench.store.layout import RunFiles

Scores = Mapping[str, Mapping[str, NDArray[np.float64]]]  # run -> metric -> (P,)


def prompt_means(run: RunResult, stage: int = -1) -> dict[str, NDArray[np.float64]]:
    """Metric to the mean score of every prompt's images (P,) after a stage, by default the last.

    Without the metrics that score no single image, such as FID; empty if the run's scores are not on this disk.
    Raises DamagedError for a damaged file.
    """
    if run.folder is None or not (evaluation := run.matrix.rows[stage].evaluation):
        return {}
    store = RunFiles(run.folder).store
    file = inside(store.folder, store.evaluation(evaluation).scores)
    if file is None:
        return {}
    with reading(file):
        check(file)
        return {name: scores.astype("float64").mean(1) for name, scores in load_file(file).items()}
