"""`rilbench generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import Given, Quiet, Settings, catalog
from rilbench.cli.output import quiet_libraries
from rilbench.contracts.errors import UsageError
from rilbench.engine.terminal import echo
from rilbench_release.export_command import RunName

if TYPE_CHECKING:
    from rilbench.engine.saved import SavedRun

Prompt = Annotated[list[str] | None, typer.Option("--prompt", help="What to draw; may be given several times")]
Prompts = Annotated[str | None, typer.Option("--prompts", help="A file of prompts, one a line")]
Stages = Annotated[
    str | None,
    typer.Option(
        "--stage",
        "--stages",
        "-t",
        help="A number, several as 0,1,2, or all: a grid with a column each; default: the last",
    ),
]
Noise = Annotated[int | None, typer.Option("--seed", help="Of the noise; default: the run's evaluation seed")]
Images = Annotated[int, typer.Option("--images", "-n", min=1, help="Images of each prompt")]
Output = Annotated[Path, typer.Option("--output", "-o", help="A .png file for one picture, or a folder for all images")]

READ = ("model", "evaluate.seed", "evaluate.batch_size")


def generate(
    run: RunName,
    settings: Settings = None,
    prompt: Prompt = None,
    prompts: Prompts = None,
    stage: Stages = None,
    seed: Noise = None,
    images: Images = 1,
    output: Output = Path("generated.png"),
    plugin: Given = None,
    quiet: Quiet = False,
) -> None:
    """Generate images with the model after a stage, or after several side by side, the same noise in each."""
    from dataclasses import replace

    from rilbench.engine import unused_settings
    from rilbench.engine.layers import values_of
    from rilbench.engine.progress import Reporter
    from rilbench.engine.saved import open_run
    from rilbench.files.prompts import read_prompts
    from rilbench_release.pictures import write_pictures

    quiet_libraries()
    wanted = [*(prompt or ()), *(read_prompts(prompts) if prompts else ())]
    if not wanted:
        raise UsageError('nothing to draw: give --prompt "..." or --prompts FILE')
    if not all(text.strip() for text in wanted):
        raise UsageError('--prompt "" says nothing to draw')
    unused_settings.require_none(unused_settings.unread(values_of(settings or ()), READ, "generate"))
    saved = open_run(run, catalog(plugin), settings or ())
    numbers = _numbers(saved, stage)
    evaluate = saved.config.evaluate
    noise = evaluate.seed if seed is None else seed
    write_pictures(
        saved,
        wanted,
        stages=numbers,
        config=replace(evaluate, seed=noise, images_per_prompt=images),
        output=output,
        reporter=Reporter(quiet=quiet),
    )
    echo(str(output))


def _numbers(run: SavedRun, text: str | None) -> list[int]:
    """The stages of `2`, `0,1,2` or `all`, each once; UsageError for anything else."""
    if text == "all":
        return list(range(len(run.rows)))
    try:
        given = [int(part) for part in text.split(",")] if text else [None]
    except ValueError:
        raise UsageError(f"--stage {text!r} is neither a number, several as 0,1,2, nor all") from None
    return list(dict.fromkeys(run.stage(number) for number in given))
