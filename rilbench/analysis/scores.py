"""The scores of single images that an evaluation left in the store, as means of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load_file

from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import inside
from rilbench.store.checksums import check, damaged
from rilbench.store.layout import RunFiles

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray


def prompt_means(run: RunResult) -> dict[str, NDArray[float64]]:
    """Metric to the mean score of every prompt's images (P,) after the last stage.

    Without the metrics that score no single image, such as FID; empty when the run's scores are not on this disk.
    Raises DamagedError for a damaged file.
    """
    if run.folder is None or not (evaluation := run.matrix.rows[-1].evaluation):
        return {}
    store = RunFiles(run.folder).store
    file = inside(store.folder, store.evaluation(evaluation).scores)
    if file is None:
        return {}
    try:
        check(file)
        return {name: scores.astype("float64").mean(1) for name, scores in load_file(file).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged(file, error) from None
