"""`rilbench generate`, `export` and `evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import AsJson, Config, Plugins, Quiet, Settings, catalog, requested
from rilbench.cli.output import echo, print_json, print_outcome, prints_on_stderr
from rilbench.contracts.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from rilbench.engine.saved import SavedRun


class Format(StrEnum):
    """Formats of `export`."""

    DIFFUSERS = "diffusers"
    PEFT = "peft"
    MERGED = "merged"


MEASURED = "model evaluate reward_settings metric_settings rewards label seed store requires check_memory"
READ = {  # the settings that each command uses
    "generate": ("model", "evaluate.seed", "evaluate.batch_size"),
    "export": ("model",),
    "evaluate": tuple(MEASURED.split()),
}
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or its name in the store runs")]


def generate(
    run: RunName,
    settings: Settings = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", help="Prompt to generate images for; repeatable")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option("--prompts", help="File of prompts: one per line, or rows of .jsonl or .csv")
    ] = None,
    negative_prompt: Annotated[
        str | None,
        typer.Option("--negative-prompt", help="For prompts without one of their own [default: that of the run]"),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage",
            "--stages",
            "-t",
            help="A stage, several such as 0,1,2, or all; a grid column each [default: the last]",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the noise [default: the run's evaluation seed]")
    ] = None,
    images: Annotated[int, typer.Option("--images", "-n", min=1, help="Images per prompt")] = 1,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png file for one image or a grid, or a folder for all images")
    ] = Path("generated.png"),
    plugin: Plugins = None,
    quiet: Quiet = False,
) -> None:
    """Generate images with the models after one or several stages.

    All stages start from the same noise, so that their images can be compared.
    """
    from dataclasses import replace

    from rilbench.contracts.prompt import Prompt
    from rilbench.engine.progress import Reporter
    from rilbench.files.prompts import read_prompts
    from rilbench_release.pictures import Pictures

    wanted = [*map(Prompt, prompt or ()), *(read_prompts(prompts) if prompts else ())]
    if not wanted:
        raise UsageError('no prompt: give --prompt "..." or --prompts FILE')
    if not all(each.text.strip() for each in wanted):
        raise UsageError('--prompt "" is empty; give a text')
    saved = _saved(run, settings, plugin, "generate").avoiding(negative_prompt)
    evaluate = saved.config.evaluate
    config = replace(evaluate, seed=evaluate.seed if seed is None else seed, images_per_prompt=images)
    pictures = Pictures(run=saved, prompts=wanted, stages=_numbers(saved, stage), config=config)
    pictures.write(output, Reporter(quiet=quiet))
    echo(output)


def _numbers(run: SavedRun, text: str | None) -> list[int]:
    """The stages of `2`, `0,1,2` or `all`, each once; raises UsageError for anything else."""
    if text == "all":
        return list(range(len(run.rows)))
    try:
        given = [int(part) for part in text.split(",")] if text else [None]
    except ValueError:
        raise UsageError(f"--stage {text!r} is not a number, a list such as 0,1,2, or all") from None
    return list(dict.fromkeys(run.stage(number) for number in given))


def export(
    run: RunName,
    settings: Settings = None,
    stage: Annotated[
        int | None, typer.Option("--stage", "-t", help="Export the model after this stage [default: the last]")
    ] = None,
    format: Annotated[
        Format,
        typer.Option("--format", "-f", help="A LoRA for diffusers and web UIs, a LoRA for PEFT, or the pipeline"),
    ] = Format.DIFFUSERS,
    with_base_lora: Annotated[
        bool, typer.Option("--with-base-lora", help="The LoRA contains those of model.lora too")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write [default: exports/RUN-stageT-FORMAT]")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", help="Also upload it to this Hub repository: owner/repository")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the Hub repository private")] = False,
    license: Annotated[
        str | None, typer.Option("--license", help="Licence of the base model, for the model card")
    ] = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
) -> None:
    """Export the model after a stage as a single LoRA or a merged pipeline."""
    from rilbench.engine.progress import Reporter
    from rilbench_release.export import Export, check_push, push_to_hub

    if private and not push:
        raise UsageError("--private needs --push owner/repository")
    if push:
        check_push(push)
    saved = _saved(run, settings, plugin, "export")
    made = Export(
        run=saved,
        stage=saved.stage(stage),
        kind=format.value,
        license=license,
        with_base_lora=with_base_lora,
    )
    folder = output or Path("exports") / f"{made.name}-{format.value}"
    reporter = Reporter(quiet=quiet)
    reporter.say(f"writing {folder}")
    made.write(folder)
    echo(folder)
    if push:
        reporter.say(f"uploading to {push}")
        echo(push_to_hub(folder, push, private=private))


def _saved(run: str, settings: Sequence[str] | None, plugins: Sequence[str] | None, command: str) -> SavedRun:
    """A run to read models from, with the settings that the command may change."""
    from rilbench.engine.saved import open_run
    from rilbench.engine.unused_settings import require_read

    require_read(settings or (), READ[command], command)
    return open_run(run, catalog(plugins), settings or ())


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A diffusers folder, package: path or Hub id")],
    settings: Settings = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            help="LoRA of diffusers, PEFT or kohya: file, folder or hub:OWNER/REPO/FILE, with @SCALE at the end; "
            "repeatable, all are added",
        ),
    ] = None,
    rewards: Annotated[
        str | None,
        typer.Option("--rewards", "-r", help="Also measure these rewards; comparisons list the model under this order"),
    ] = None,
    config: Config = "shapes",
    label: Annotated[
        str | None, typer.Option("--label", help="Name of the model in tables [default: lora, or model]")
    ] = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate any diffusers model or LoRA in the same way as runs.

    The result is stored with those of runs; `compare` and `report` read both.
    """
    from rilbench.engine.memo import Outcome
    from rilbench.engine.unused_settings import require_read
    from rilbench_release import foreign

    _check_places(lora or ())
    require_read(settings or (), READ["evaluate"], "evaluate")
    asked = requested(config, settings, plugin, quiet=quiet, rewards=rewards, label=label, model={"path": model})
    with prints_on_stderr():
        folder, result = foreign.evaluate(
            asked.config,
            lora or (),
            catalog=asked.catalog,
            reporter=asked.reporter,
            command=asked.command,
            given=asked.given,
        )
    if as_json:
        print_json(result.to_json() | {"folder": str(folder)})
    else:
        print_outcome(Outcome(folder, result, {}))


def _check_places(loras: Sequence[str]) -> None:
    """Raises UsageError for a --lora that names no LoRA on this disk; published files are checked later."""
    from rilbench.files.loras import loras_of

    try:
        for lora in loras_of(loras, "--lora"):
            if not lora.needed:
                lora.file  # noqa: B018 - checks it
    except ConfigError as error:
        raise UsageError(str(error)) from None
