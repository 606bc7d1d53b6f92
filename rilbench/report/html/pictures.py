"""Sample pictures for the page: as data URIs, each once, as many runs as fit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from rilbench.report.html.runs import Run
from rilbench.report.html.study import Study

PROMPTS = 4
SIDE = 256  # pixels; larger pictures are made smaller
BUDGET = 6_000_000  # characters of data URIs


@dataclass
class Album:
    """What the page shows. `uris` are the pictures, `runs` refer to them by number."""

    uris: list[str] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    of: int = 0  # runs that have pictures

    def to_json(self) -> dict[str, Any]:
        return {"uris": self.uris, "runs": self.runs}


def album(study: Study) -> Album:
    """The first prompts of every run, one order and seed of all strategies after the other, until the budget is spent."""
    made, numbers, spent = Album(), dict[str, int](), 0
    for run in sorted(study.runs, key=lambda run: (run.result.seed, run.order, run.label)):
        stages = [_samples(run.folder.parent / row.evaluation) for row in run.matrix.rows]
        if not all(stages):
            continue
        made.of += 1
        uris = [[data_uri(file) for file in files] for files in stages]
        new = {uri for stage in uris for uri in stage} - set(numbers)
        if spent + sum(map(len, new)) > BUDGET:
            continue
        spent += sum(map(len, new))
        for stage in uris:
            for uri in stage:
                numbers.setdefault(uri, len(numbers))
        made.runs.append(_described(run) | {"pictures": [[numbers[uri] for uri in stage] for stage in uris]})
    made.uris = list(numbers)
    return made


def _samples(folder: Path) -> list[Path]:
    return [file for file in (folder / f"sample-{i}.png" for i in range(PROMPTS)) if file.exists()]


def _described(run: Run) -> dict[str, Any]:
    labels = [row.label for row in run.matrix.rows]
    prompts: Sequence[str] = run.prompts[:PROMPTS] or [f"prompt {i + 1}" for i in range(PROMPTS)]
    return {"strategy": run.label, "order": run.order, "seed": run.result.seed, "stages": labels, "prompts": prompts}


def data_uri(file: Path) -> str:
    """A small picture as it is; a large one as a JPEG of at most SIDE pixels."""
    with Image.open(file) as image:
        if max(image.size) <= SIDE // 2:
            return _uri("png", file.read_bytes())
        smaller = image.convert("RGB")
    smaller.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=82)
    return _uri("jpeg", buffer.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
