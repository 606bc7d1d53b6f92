"""Sample images for the page as data URIs: each once, for as many runs as fit."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rilbench.contracts.result import RunResult
from rilbench.store.grid import check_picture
from rilbench.store.layout import EvaluationFiles
from rilbench.store.picture_files import opened
from rilbench_report.study import Study, in_store

PROMPTS = 4
SIDE = 256  # pixels; larger images are scaled down
BUDGET = 6_000_000  # characters of data URIs


@dataclass
class Album:
    """The images of the page. `uris` are the images, `runs` refer to them by index."""

    uris: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    of: int = 0  # number of runs that have images
    numbers: dict[Path, int] = field(default_factory=dict)  # of the images, by file

    @property
    def full(self) -> bool:
        """Whether the budget is spent."""
        return sum(map(len, self.uris)) > BUDGET

    def index(self, file: Path | None) -> int | None:
        """The number of an image, which is added if it fits; None if there is none."""
        if file is None or (file not in self.numbers and self.full):
            return None
        return self.add(file)

    def add(self, file: Path) -> int:
        """The number of an image, which is added."""
        if file not in self.numbers:
            self.numbers[file] = len(self.uris)
            self.uris.append(data_uri(file))
        return self.numbers[file]


def album(study: Study) -> Album:
    """The images of the first prompts of every run, until the budget is spent.

    All strategies of one order and seed, then the next; those that most strategies have come first.
    """
    made = Album()
    strategies = Counter(map(_case, study.runs))
    for run in sorted(
        study.runs, key=lambda run: (-strategies[_case(run)], *_case(run), study.labels.index(run.label))
    ):
        stages = [_samples(run, row.evaluation) for row in run.matrix.rows]
        if not all(stages):
            continue
        made.of += 1
        if made.full:
            continue
        made.runs.append(
            _described(study, run) | {"pictures": [[made.add(file) for file in files] for files in stages]}
        )
    return made


def _case(run: RunResult) -> tuple[int, str]:
    return run.seed, run.order


def _samples(run: RunResult, folder: str) -> list[Path]:
    files = [in_store(run, EvaluationFiles(Path(folder)).picture(i)) for i in range(PROMPTS)] if folder else []
    return [file for file in files if file]


def _described(study: Study, run: RunResult) -> dict[str, Any]:
    labels = [row.label for row in run.matrix.rows]
    prompts: Sequence[str] = study.prompts(run)[:PROMPTS] or [f"prompt {i + 1}" for i in range(PROMPTS)]
    return {"strategy": run.label, "order": run.order, "seed": run.seed, "stages": labels, "prompts": prompts}


def data_uri(file: Path) -> str:
    """A small image unchanged; a large one as a JPEG of at most SIDE pixels."""
    check_picture(file)
    with opened(file) as image:
        if max(image.size) <= SIDE // 2:
            return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
        smaller = image.convert("RGB")
    smaller.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
