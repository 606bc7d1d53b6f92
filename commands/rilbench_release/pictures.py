"""New pictures of a run's stages, with the noise an evaluation would give them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rilbench.api.drawing import draw
from rilbench.api.saved import SavedRun
from rilbench.contracts.errors import UsageError
from rilbench.engine.progress import Reporter
from rilbench.evaluation.config import EvaluateConfig
from rilbench.store.files import in_the_way, replacing, write_json
from rilbench.store.grid import CELL, save_grid, save_picture
from rilbench.store.layout import EvaluationFiles
from rilbench.store.picture_files import opened

LARGEST = 512  # pixels a side of a picture in a grid
RECORD = "generated.json"  # what marks a folder as one of ours
OTHER = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


def write_pictures(
    run: SavedRun,
    prompts: Sequence[str],
    *,
    stages: Sequence[int],
    config: EvaluateConfig,
    output: Path,
    reporter: Reporter,
) -> None:
    """Generate `config.images_per_prompt` images of each prompt at each stage.

    output: a .png file for one picture, the only image or a grid (rows prompts, columns stages); any other name is a
        folder, for `stage-T/sample-I.png` of every image, counted prompt by prompt, and `grid.png`.

    UsageError for a file that would not be a picture, and for a folder with anything but earlier pictures of this kind.
    """
    _check(output)
    if output.suffix.lower() != ".png":
        write_json(output / RECORD, {"run": run.result.name, "stages": list(stages), "seed": config.seed})
        _generate(run, prompts, stages, config, output, reporter)
        _grid(run, prompts, stages, config, output, output / "grid.png")
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _generate(run, prompts, stages, config, folder, reporter)
        if len(prompts) * len(stages) * config.images_per_prompt > 1:
            _grid(run, prompts, stages, config, folder, output)
            return
        with replacing(output) as part:
            part.write_bytes(_sample(folder, stages[0], 0).read_bytes())


def _check(output: Path) -> None:
    if output.suffix.lower() in OTHER:
        raise UsageError(f"--output {output}: pictures are .png files; another name is a folder")
    if output.suffix.lower() == ".png":
        return
    if output.is_file():
        raise UsageError(f"--output {output}: there is a file of that name; name a .png file or a folder")
    if in_the_way(output, RECORD):
        raise UsageError(f"--output {output}: the folder holds something else; it is left alone, name another one")


def _generate(
    run: SavedRun,
    prompts: Sequence[str],
    stages: Sequence[int],
    config: EvaluateConfig,
    folder: Path,
    reporter: Reporter,
) -> None:
    numbers = {stage: itertools.count() for stage in stages}
    for stage, pixels in draw(run, prompts, stages=stages, config=config, reporter=reporter):
        save_picture(_sample(folder, stage, next(numbers[stage])), pixels)


def _sample(folder: Path, stage: int, number: int) -> Path:
    return EvaluationFiles(folder / f"stage-{stage}").picture(number)


def _grid(
    run: SavedRun, prompts: Sequence[str], stages: Sequence[int], config: EvaluateConfig, folder: Path, file: Path
) -> None:
    with opened(_sample(folder, stages[0], 0)) as image:
        side = max(CELL, min(LARGEST, image.width))
    columns = [(f"{t} {run.rows[t].label}" if t else "base", folder / f"stage-{t}") for t in stages]
    rows = [prompt for prompt in prompts for _ in range(config.images_per_prompt)]
    save_grid(file, columns=columns, prompts=rows, cell=side)
