"""`rilbench evaluate`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from rilbench.cli.options import AsJson, Config, Given, Quiet, Settings, catalog
from rilbench.cli.output import print_json, print_outcome, quiet_libraries

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A diffusers folder, package: path or Hub id")]
LoraFile = Annotated[
    str | None,
    typer.Option("--lora", help="A LoRA's file or folder, PATH or PATH:SCALE: diffusers, PEFT or kohya, safetensors"),
]
Columns = Annotated[
    str | None, typer.Option("--rewards", "-r", help="Measure these too; comparisons list it with runs of this order")
]
Label = Annotated[str | None, typer.Option("--label", help="What tables call it; default: lora, or model")]

READ = (
    "model",
    "evaluate",
    "reward_settings",
    "metric_settings",
    "rewards",
    "label",
    "seed",
    "store",
    "requires",
    "check_memory",
)


def evaluate(
    model: Model,
    settings: Settings = None,
    lora: LoraFile = None,
    rewards: Columns = None,
    config: Config = "shapes",
    label: Label = None,
    plugin: Given = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure any diffusers model or LoRA as runs are measured, and keep it beside them in the store."""
    from rilbench.engine import unused_settings
    from rilbench.engine.config import load
    from rilbench.engine.layers import values_of
    from rilbench.engine.memo import Outcome
    from rilbench.engine.progress import Reporter
    from rilbench.engine.secret_settings import command_line
    from rilbench_release import foreign
    from rilbench_release.attach import Lora

    quiet_libraries()
    given = Lora.parse(lora) if lora else None
    values = values_of(settings or ())
    unused_settings.require_none(unused_settings.unread(values, READ, "evaluate"))
    loaded = load(config, settings or (), rewards=rewards, label=label, model={"path": model})
    found = catalog(plugin)
    command = command_line(sys.argv[1:], found)
    with redirect_stdout(sys.stderr):  # whatever a plugin prints; stdout is for results
        folder, result = foreign.evaluate(
            loaded, given, catalog=found, reporter=Reporter(quiet=quiet), command=command, given=values
        )
    if as_json:
        print_json(result.to_json() | {"folder": str(folder)})
    else:
        print_outcome(Outcome(folder, result, {}))
