"""`rilbench export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import Given, Quiet, Settings, catalog
from rilbench.cli.output import quiet_libraries
from rilbench.contracts.errors import UsageError
from rilbench.engine.terminal import echo

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in the store runs")]


class Kind(StrEnum):
    """What is written."""

    DIFFUSERS = "diffusers"
    PEFT = "peft"
    MERGED = "merged"


Stage = Annotated[int | None, typer.Option("--stage", "-t", help="The model after this stage; default: the last")]
Format = Annotated[
    Kind,
    typer.Option("--format", "-f", help="A LoRA for diffusers and web interfaces, one for PEFT, or the whole pipeline"),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: exports/RUN-stageT-FORMAT")]
Push = Annotated[str | None, typer.Option("--push", help="Also upload to this repository of the Hub: name/repository")]
Private = Annotated[bool, typer.Option("--private", help="Make that repository private")]
License = Annotated[str | None, typer.Option("--license", help="Licence of the base model, for the card")]


def export(
    run: RunName,
    settings: Settings = None,
    stage: Stage = None,
    format: Format = Kind.DIFFUSERS,
    output: Output = None,
    push: Push = None,
    private: Private = False,
    license: License = None,
    plugin: Given = None,
    quiet: Quiet = False,
) -> None:
    """Write the model after a stage as one ordinary LoRA or as a merged pipeline, with a model card."""
    from rilbench.engine import unused_settings
    from rilbench.engine.layers import values_of
    from rilbench.engine.progress import Reporter
    from rilbench.engine.saved import open_run
    from rilbench_release import hub
    from rilbench_release.export import Export, own_files

    quiet_libraries()
    if private and not push:
        raise UsageError("--private is about --push; name the repository")
    if push:
        hub.check(push)
    unused_settings.require_none(unused_settings.unread(values_of(settings or ()), ("model",), "export"))
    saved = open_run(run, catalog(plugin), settings or ())
    made = Export(run=saved, stage=saved.stage(stage), kind=format.value, license=license)
    folder = output or Path("exports") / f"{made.name}-{format.value}"
    reporter = Reporter(quiet=quiet)
    reporter.say(f"writing {folder}")
    made.write(folder)
    echo(str(folder))
    if push:
        reporter.say(f"uploading to {push}")
        echo(hub.push(folder, push, own_files(folder), private=private))
