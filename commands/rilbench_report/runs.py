"""A run of a report, with what its folder says of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rilbench.analysis import recorded
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import ResultMatrix, RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import stage_record
from rilbench.store.grid import check_picture
from rilbench.store.layout import EvaluationFiles, Store
from rilbench.store.picture_files import opened

HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b")


@dataclass(frozen=True)
class Run:
    """A finished run. settings: `config.yaml`, key.of.setting to text; empty when there is none."""

    result: RunResult
    settings: Mapping[str, str]

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
    def environment(self) -> dict[str, str]:
        """`environment.json`, key.of.value to text."""
        found = texts(recorded.environment(self.result))
        if found.get("commit", "").endswith("+"):
            found["commit"] = f"{found['commit'][:-1]} with uncommitted changes"
        return {key: HASH.sub(r"\1", text) for key, text in found.items()}

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

    @cached_property
    def prompts(self) -> list[str]:
        """The evaluation prompts; empty when their file is not on this machine."""
        try:
            return evaluation_prompts(self.settings.get("evaluate.prompts", ""))
        except ConfigError:
            return []

    @cached_property
    def trained_samples(self) -> list[int]:
        """How many images each trained stage generated for training, as far as the store knows."""
        files = [self.in_store(Store(Path()).stage(row.stage_id).record) for row in self.matrix.rows if row.rewards]
        return [stage_record.read(file.parent)["document"]["train"]["samples"] for file in files if file]

    def in_store(self, path: str | Path) -> Path | None:
        """A file or folder of the store the run lies in; None when it is not on this disk or a link leads out."""
        return inside(self._store, path) if self._store else None

    @cached_property
    def _store(self) -> Path | None:
        return self.result.folder.resolve().parent if self.result.folder else None


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
