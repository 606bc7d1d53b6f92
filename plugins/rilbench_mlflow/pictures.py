"""Sample pictures as MLflow's image grids want them: a key each, a step, and pixels one can see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rilbench.errors import RilbenchError
from rilbench.prompts import evaluation_prompts
from rilbench.received import inside
from rilbench.result import RunResult

if TYPE_CHECKING:
    from PIL.Image import Image

AFTER_EACH, AFTER_LAST = "after each stage/", "after the last stage/"
SIDE = 256  # pixels of MLflow's thumbnails


class Picture(NamedTuple):
    """A picture of a run: what it shows, and the step it is shown at."""

    key: str
    step: int
    file: Path


def of_stage(folder: Path, result: RunResult, stage: int) -> list[Picture]:
    """The sample pictures of a stage, a step a stage."""
    return [Picture(AFTER_EACH + name, stage, file) for name, file in _samples(folder, result, stage)]


def of_end(folder: Path, result: RunResult) -> list[Picture]:
    """Those of the last stage at step 0, so that runs of one and of many stages stand side by side."""
    return [Picture(AFTER_LAST + name, 0, file) for name, file in _samples(folder, result, -1)]


def opened(file: Path) -> Image:
    """An image; a small one is enlarged by a whole factor without smoothing, or its thumbnail would be a blur."""
    from PIL import Image

    from rilbench import picture_files

    with picture_files.opened(file) as image:
        factor = max(1, SIDE // max(image.size))
        return image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _samples(folder: Path, result: RunResult, stage: int) -> Iterator[tuple[str, Path]]:
    """Number and prompt of each, in the characters that MLflow allows."""
    evaluation = result.matrix.rows[stage].evaluation
    store = folder.resolve().parent
    found = sorted((store / evaluation).glob("sample-*.png"), key=_number) if evaluation else []
    files = [file for file in found if inside(store, file)]  # what leads out of the store is not sent
    prompts = _prompts(folder) if files else []
    for file in files:
        number = _number(file)
        prompt = re.sub(r"[^\w.-]+", " ", prompts[number], flags=re.ASCII)[:80] if number < len(prompts) else ""
        yield f"{number + 1} {prompt}".strip(), file


def _number(file: Path) -> int:
    return int(file.stem.removeprefix("sample-"))


def _prompts(folder: Path) -> list[str]:
    """The evaluation prompts of a run; none when the file is on another machine."""
    from rilbench.layers import values_in
    from rilbench.settings import flat

    try:
        return evaluation_prompts(str(flat(values_in(folder / "config.yaml")).get("evaluate.prompts")))
    except (RilbenchError, OSError):
        return []
