"""What a stage changed for each prompt: its mean score of a metric beside that of the base model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rilbench.analysis.scores import prompt_means
from rilbench.analysis.sources import load_settings
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store.layout import EvaluationFiles, RunFiles


@dataclass(frozen=True, kw_only=True)
class PromptChange:
    """A prompt's scores, each the mean over its images. `change` is positive where the prompt became better.

    number: of the prompt in the evaluation, from 0. prompt: its text, with its negative prompt if it has one; or
    `prompt 1` where their file is not here or has another number of prompts.
    """

    number: int
    prompt: str
    base: float
    value: float
    change: float


def prompt_changes(run: RunResult, stage: int = -1) -> dict[str, list[PromptChange]]:
    """Metric to every prompt after a stage, the worst change from the base model first.

    Without the metrics that score no single image; empty if the run's scores are not on this disk. Raises DamagedError
    for damaged scores.
    """
    base, after = prompt_means(run, 0), prompt_means(run, stage)
    signs = {info.name: 1 if info.higher_is_better else -1 for info in run.matrix.metrics}
    labels = prompt_labels(run, max(map(len, base.values()), default=0))
    found = {}
    for metric in (name for name in signs if name in base and name in after and len(base[name]) == len(after[name])):
        sign = signs[metric]
        rows = [
            PromptChange(number=i, prompt=labels[i], base=float(b), value=float(a), change=sign * float(a - b))
            for i, (b, a) in enumerate(zip(base[metric], after[metric], strict=True))
        ]
        found[metric] = sorted(rows, key=lambda row: row.change)
    return found


def prompt_labels(run: RunResult, count: int) -> list[str]:
    """The evaluation prompts of a run, or their numbers where their file is not here or has another number of them."""
    try:
        labels = [prompt.label for prompt in evaluation_prompts(str(load_settings(run).get("evaluate.prompts", "")))]
    except ConfigError:
        labels = []
    return labels if len(labels) == count else [f"prompt {i + 1}" for i in range(count)]


def picture_of(run: RunResult, number: int, stage: int = -1) -> Path | None:
    """The kept picture of a prompt after a stage; None if there is none on this disk."""
    if run.folder is None or not (evaluation := run.matrix.rows[stage].evaluation):
        return None
    store = RunFiles(run.folder).store.folder
    return inside(store.resolve(), EvaluationFiles(Path(evaluation)).picture(number))


def extremes(rows: Sequence[PromptChange], count: int) -> tuple[Sequence[PromptChange], Sequence[PromptChange]]:
    """The worst and the best, the most extreme first; no prompt is in both."""
    worst = rows[: min(count, (len(rows) + 1) // 2)]
    best = rows[len(rows) - min(count, len(rows) - len(worst)) :]
    return worst, best[::-1]
