"""The runs a report is about, with what their folders say of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rilbench.analysis import apart, comparable, mixed, recorded
from rilbench.analysis.sources import FindRuns, load_runs
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import ResultMatrix, RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import stage_record
from rilbench.store.grid import check_picture
from rilbench.store.layout import EvaluationFiles, Store
from rilbench.store.picture_files import opened

PLACE = ("store", "tracking", "seed", "rewards")  # settings that do not make a strategy another one
OF_BASE = ("model.", "evaluate.prompts", "evaluate.images_per_prompt", "evaluate.seed")
HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b")

Base = frozenset[tuple[str, str]]  # settings of the base model and of how it is measured


@dataclass(frozen=True)
class Run:
    """A finished run."""

    result: RunResult

    @property
    def label(self) -> str:
        """What the report calls its strategy."""
        return self.result.label

    @property
    def matrix(self) -> ResultMatrix:
        return self.result.matrix

    @property
    def order(self) -> str:
        """The rewards in training order."""
        return " > ".join(self.result.rewards)

    @cached_property
    def settings(self) -> dict[str, str]:
        """`config.yaml`, key.of.setting to text; empty when there is none."""
        return _texts(recorded.settings(self.result))

    @cached_property
    def environment(self) -> dict[str, str]:
        """`environment.json` likewise."""
        texts = _texts(recorded.environment(self.result))
        if texts.get("commit", "").endswith("+"):
            texts["commit"] = f"{texts['commit'][:-1]} with uncommitted changes"
        return {key: HASH.sub(r"\1", text) for key, text in texts.items()}

    @cached_property
    def base(self) -> Base:
        """The same for runs that start from the same model and are measured alike; without settings, the identity of
        the untouched model."""
        kept = {(k, v) for k, v in self.settings.items() if k.startswith(OF_BASE) and k not in comparable.NEUTRAL}
        return frozenset(kept or {("base", self.matrix.rows[0].stage_id)})

    @cached_property
    def prompts(self) -> list[str]:
        """The evaluation prompts; empty when their file is not on this machine."""
        try:
            return evaluation_prompts(self.settings.get("evaluate.prompts", ""))
        except ConfigError:
            return []

    @cached_property
    def picture_size(self) -> str:
        """`512 x 512`: width and height of its pictures in pixels; empty when there are none here."""
        files = (
            self.in_store(EvaluationFiles(Path(row.evaluation)).picture(0))
            for row in self.matrix.rows
            if row.evaluation
        )
        file = next(filter(None, files), None)
        if file is None:
            return ""
        check_picture(file)
        with opened(file) as picture:
            return f"{picture.width} x {picture.height}"

    def trained_samples(self) -> list[str]:
        """How many images each trained stage generated for training, as far as the store knows."""
        files = [self.in_store(Store(Path()).stage(row.stage_id).record) for row in self.matrix.rows if row.rewards]
        return [str(stage_record.read(file.parent)["document"]["train"]["samples"]) for file in files if file]

    def in_store(self, path: str | Path) -> Path | None:
        """A file or folder of the store the run lies in; None when it is not on this disk or a link leads out."""
        return inside(self.result.folder.resolve().parent, path) if self.result.folder else None


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}


def read_runs(sources: Sequence[str], find_runs: FindRuns) -> tuple[list[Run], list[str], list[str]]:
    """The finished runs at all sources, as `load_runs` finds them, what is left out, and warnings.

    UsageError when nothing is left, or when runs cannot be told apart.
    """
    left_out: list[str] = []
    found = load_runs(sources, find_runs, warn=left_out.append)
    runs = told_apart([Run(result) for result in found])
    warnings: list[str] = []
    for group in dict.fromkeys((run.label, run.base) for run in runs):
        mixed.check([run.result for run in runs if (run.label, run.base) == group], warnings.append)
    return runs, left_out, warnings


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Where runs of a strategy have one order and seed, or several base models, the settings in which they differ
    become part of the label."""
    results = [run.result for run in runs]
    on = {(run.label, run.base) for run in runs if len(run.matrix.rows) > 1}
    split = apart.twice(results) | {label for label, n in Counter(label for label, _ in on).items() if n > 1}
    return [Run(result) for result in apart.relabelled(results, split)]
