"""Generates images with the stages of a run, from the noise of an evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rilbench.api.drawing import draw
from rilbench.contracts.errors import UsageError
from rilbench.contracts.prompt import Prompt
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import SavedRun
from rilbench.evaluation.config import EvaluateConfig
from rilbench.store.files import in_the_way, replacing, write_json
from rilbench.store.grid import CELL, save_grid, save_picture
from rilbench.store.layout import EvaluationFiles
from rilbench.store.picture_files import opened

LARGEST = 512  # side length in pixels of an image in a grid
RECORD = "generated.json"  # marks a folder with generated images
OTHER = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """`config.images_per_prompt` images of each prompt at each stage."""

    run: SavedRun
    prompts: Sequence[Prompt]
    stages: Sequence[int]
    config: EvaluateConfig

    def write(self, output: Path, reporter: Reporter) -> None:
        """Generate the images.

        output: a .png file for the only image or a grid (rows are prompts, columns are stages). Any other name is a
            folder: `stage-T/sample-I.png` for every image, numbered prompt by prompt, and `grid.png`.

        Raises UsageError for a file with another suffix, and for a folder with anything but earlier images of this
        command.
        """
        _check(output)
        if output.suffix.lower() != ".png":
            write_json(output / RECORD, self._record())
            self._generate(output, reporter)
            self._grid(output, output / "grid.png")
            return
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self._generate(folder, reporter)
            if len(self.prompts) * len(self.stages) * self.config.images_per_prompt > 1:
                self._grid(folder, output)
                return
            with replacing(output) as part:
                part.write_bytes(_sample(folder, self.stages[0], 0).read_bytes())

    def _record(self) -> dict[str, Any]:
        """How the images were made; they are numbered prompt by prompt."""
        return {
            "run": self.run.result.name,
            "stages": list(self.stages),
            "seed": self.config.seed,
            "images": self.config.images_per_prompt,
            "negative_prompt": self.run.config.model.negative_prompt,
            "prompts": [{"prompt": prompt.text, "negative_prompt": prompt.negative} for prompt in self.prompts],
        }

    def _generate(self, folder: Path, reporter: Reporter) -> None:
        numbers = {stage: itertools.count() for stage in self.stages}
        drawn = draw(self.run, self.prompts, stages=self.stages, config=self.config, reporter=reporter)
        for stage, pixels in drawn:
            save_picture(_sample(folder, stage, next(numbers[stage])), pixels)

    def _grid(self, folder: Path, file: Path) -> None:
        with opened(_sample(folder, self.stages[0], 0)) as image:
            side = max(CELL, min(LARGEST, image.width))
        labels, images = self.run.result.matrix.labels, range(1, self.config.images_per_prompt + 1)
        columns = [(labels[t], folder / f"stage-{t}") for t in self.stages]
        prompts = [prompt.label if i == 1 else f"image {i}" for prompt in self.prompts for i in images]
        save_grid(file, columns=columns, prompts=prompts, cell=side)


def _check(output: Path) -> None:
    if output.suffix.lower() in OTHER:
        raise UsageError(f"--output {output}: images are .png files; use a .png name or a folder")
    if output.suffix.lower() == ".png":
        return
    if output.is_file():
        raise UsageError(f"--output {output}: a file has this name; give a .png file or a folder")
    if in_the_way(output, RECORD):
        raise UsageError(f"--output {output}: the folder contains other files; choose another one")


def _sample(folder: Path, stage: int, number: int) -> Path:
    return EvaluationFiles(folder / f"stage-{stage}").picture(number)
