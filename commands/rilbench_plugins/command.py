"""`rilbench plugins list`, `show`, `check` and `new`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import AsJson, Given, catalog
from rilbench.cli.output import print_fields, print_json, print_table, quiet_libraries
from rilbench.cli.quick import QuickCommand, QuickGroup
from rilbench.engine.terminal import echo

app = typer.Typer(cls=QuickGroup, help="See, check and make plugins.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of a component, or kind/name")]


@app.command("list", cls=QuickCommand)
def list_plugins(as_json: AsJson = False) -> None:
    """Kind, name, distribution, version and status of every plugin; imports none of them.

    With RILBENCH_STRICT_PLUGINS=1 all are imported, and any that cannot be used is an error.
    """
    from rilbench.host import control

    found = catalog()
    if control.strict():
        from rilbench.host.hook_caller import HookCaller

        found.survey(lambda text: None)
        HookCaller(found, lambda text: None)
    head = ["kind", "name", "distribution", "version", "status"]
    rows = [[getattr(plugin, key) for key in head] for plugin in found.plugins]
    if as_json:
        print_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        print_table(head, rows)


@app.command()
def show(name: Name, plugin: Given = None, as_json: AsJson = False) -> None:
    """The contract a plugin fulfils, its settings with defaults and meaning, its licence."""
    from rilbench_plugins.describe import described

    with redirect_stdout(sys.stderr):
        told = described(catalog(plugin).find(name))
    if as_json:
        print_json(told)
    else:
        settings = told.pop("settings")
        print_fields({key: _text(value) for key, value in told.items()})
        if settings:
            head = ["setting", "type", "default", "range", "meaning"]
            print_table(head, [[s["name"], *(s[key] for key in head[1:])] for s in settings])


@app.command()
def check(
    name: Name,
    settings: Annotated[list[str] | None, typer.Argument(help="The plugin's settings as key=value")] = None,
    plugin: Given = None,
    image_size: Annotated[int, typer.Option(help="Side of the test images in pixels")] = 64,
    prompts: Annotated[str | None, typer.Option(help="File of at least eight prompts, one a line")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the conformance checks of a plugin; exit code 1 when one fails."""
    from dataclasses import asdict

    from rilbench.contracts.errors import UsageError
    from rilbench.contracts.settings import build
    from rilbench.engine.layers import values_of
    from rilbench.files.prompts import read_prompts
    from rilbench.testing import check_component, summary

    quiet_libraries()
    found = catalog(plugin).find(name)
    if found.kind == "hook":
        raise UsageError(f"{found} is a hook plugin; the checks are for rewards, metrics and strategies")
    shown = read_prompts(prompts) if prompts else None
    with redirect_stdout(sys.stderr):  # whatever the plugin prints
        values = values_of(settings or ())
        component = found.load()
        if values:  # the user's mistake is not the component's
            build(component.Settings, values, f"{found.kind} {name!r}")
        results = check_component(component, values, image_size=image_size, prompts=shown)
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        print_table(["check", "status", "reason"], [[r.name, r.status, r.reason] for r in results])
        echo(summary(results))
    raise typer.Exit(0 if all(result.ok for result in results) else 1)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="reward, metric or strategy")],
    name: Annotated[str, typer.Argument(help="Name of the component and of the package, such as my-reward")],
    folder: Annotated[Path, typer.Option(help="Where the package's folder is made")] = Path(),
) -> None:
    """Write a complete package: code, tests that call the conformance checks, pyproject.toml, README, CI."""
    from rilbench_plugins.scaffold import create

    made = create(kind, name, folder)
    echo(str(made))
    echo(f"next: pip install -e '{made}[test]', then pytest {made}", err=True)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
