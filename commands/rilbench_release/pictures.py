"""New pictures of a run's stages, with the noise an evaluation would give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rilbench.contracts.errors import UsageError
from rilbench.engine.progress import Reporter
from rilbench.evaluation.config import EvaluateConfig
from rilbench.evaluation.evaluate import batches, cause, generate, images_after, to_pixels
from rilbench.model.adapters import AdapterGroup
from rilbench.model.text_to_image import TextToImage
from rilbench.store.files import in_the_way, replacing, write_json
from rilbench.store.grid import CELL, save_grid, save_picture
from rilbench.store.picture_files import opened
from rilbench_release.runs import SavedRun

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

    An image is a function of stage, `config.seed`, prompt and its number, up to the rounding of another batch; with
    the prompts, number of images and batch size of an evaluation it is that evaluation's, bit for bit.
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
    run.check_base()
    reporter.say("loading the model")
    model = TextToImage.load(run.config.model)
    for text in model.remarks(prompts, "prompts"):
        reporter.warn(text)
    group = AdapterGroup(model.network, targets=run.config.adapter.targets)
    total, done = len(stages) * len(prompts) * config.images_per_prompt, 0
    with reporter.images("generating") as on_batch:
        for stage in stages:
            group.load_chain(run.pairs(stage, model.device))
            number = 0
            for of_batch, noise in batches(model, prompts, config):
                with images_after(f"stage {stage}", cause(trained=stage > 0)):
                    images = generate(model, of_batch, noise)
                for pixels in to_pixels(images):
                    save_picture(_sample(folder, stage, number), pixels)
                    number += 1
                done += len(of_batch)
                on_batch(done, total)


def _sample(folder: Path, stage: int, number: int) -> Path:
    return folder / f"stage-{stage}" / f"sample-{number}.png"


def _grid(
    run: SavedRun, prompts: Sequence[str], stages: Sequence[int], config: EvaluateConfig, folder: Path, file: Path
) -> None:
    with opened(_sample(folder, stages[0], 0)) as image:
        side = max(CELL, min(LARGEST, image.width))
    columns = [(f"{t} {run.rows[t].label}" if t else "base", folder / f"stage-{t}") for t in stages]
    rows = [prompt for prompt in prompts for _ in range(config.images_per_prompt)]
    save_grid(file, columns=columns, prompts=rows, cell=side)
