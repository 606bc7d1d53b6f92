"""Sample images for MLflow's image grids: a key, a step, and a visible size."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store.layout import RunFiles
from rilbench_mlflow.labels import settings

if TYPE_CHECKING:
    from PIL.Image import Image

LOGGED = "mlflow.loggedImages"  # the tag of runs that have images
AFTER_EACH, AFTER_LAST = "pictures after each stage/", "pictures after the last stage/"  # after the numbers in MLflow
SIDE = 256  # pixels of MLflow's thumbnails


class Picture(NamedTuple):
    """An image of a run: its key and the step it is shown at."""

    key: str
    step: int
    file: Path


def of_stage(folder: Path, result: RunResult, stage: int) -> list[Picture]:
    """The sample images of a stage; the step is the stage's number."""
    return [Picture(AFTER_EACH + name, stage, file) for name, file in _samples(folder, result, stage)]


def of_end(folder: Path, result: RunResult) -> list[Picture]:
    """The sample images of the last stage at step 0, so that runs with different numbers of stages are comparable."""
    return [Picture(AFTER_LAST + name, 0, file) for name, file in _samples(folder, result, -1)]


def write(picture: Picture, folder: Path) -> None:
    """Write an image and its thumbnail under names in the format of MLflow's `log_image`.

    MLflow's own names contain the time and a random number, so an image sent again would appear twice.
    """
    image = opened(picture.file)
    key = picture.key.replace("/", "~")
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"{picture.key} {picture.step}")
    name = f"{key}+step+{picture.step}+timestamp+{picture.step}+{number}"
    image.save(folder / f"{name}.png")
    factor = SIDE / max(image.size)
    image.resize((round(image.width * factor), round(image.height * factor))).save(folder / f"{name}+compressed.webp")


def opened(file: Path) -> Image:
    """An image; small ones are enlarged by a whole factor without smoothing, to keep the thumbnail sharp."""
    from PIL import Image

    with Image.open(file) as image:
        factor = max(1, SIDE // max(image.size))
        return image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _samples(folder: Path, result: RunResult, stage: int) -> Iterator[tuple[str, Path]]:
    """Number and prompt of each image, in the characters that MLflow allows, and its file."""
    evaluation = result.matrix.rows[stage].evaluation
    store = RunFiles(folder).store
    found = store.evaluation(evaluation).pictures() if evaluation else []
    files = [(number, file) for number, file in found if inside(store.folder, file)]  # none from outside the store
    prompts = _prompts(folder) if files else []
    for number, file in files:
        prompt = re.sub(r"[^\w.-]+", " ", prompts[number], flags=re.ASCII)[:80] if number < len(prompts) else ""
        yield f"{number + 1} {prompt}".strip(), file


def _prompts(folder: Path) -> list[str]:
    """The evaluation prompts of a run; empty if their file is not on this machine."""
    try:
        return [prompt.label for prompt in evaluation_prompts(str(settings(folder).get("evaluate.prompts")))]
    except (RilbenchError, OSError):
        return []
