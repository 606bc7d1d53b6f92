"""List, describe, check and create plugins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rilbench.cli.options import AsJson, Plugins, catalog
from rilbench.cli.output import echo, print_fields, print_json, print_table, prints_on_stderr

app = typer.Typer(help=__doc__, no_args_is_help=True)
UNCHECKED = {  # kinds without checks, and how to try one
    "hook": "start a run, which reports failures",
    "command": "try it with `rilbench {name} --help`",
}
Name = Annotated[str, typer.Argument(help="Name of a plugin, or kind/name")]


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List all plugins and whether they are usable, without importing them.

    With RILBENCH_STRICT_PLUGINS=1 all are imported, and an unusable one is an error.
    """
    from rilbench.host import control

    found = catalog()
    if control.strict():
        from rilbench.host.hook_caller import HookCaller

        found.check(lambda text: None)
        HookCaller(found, lambda text: None)
        for command in found.names("command"):
            found.get("command", command).load()
    head = ["kind", "name", "distribution", "version", "status"]
    rows = [[p.kind, p.name, p.distribution, p.version, p.state] for p in found.plugins]
    if as_json:
        print_json([dict(zip(head, row, strict=True)) for row in rows])
    else:
        print_table(head, rows)


@app.command()
def show(name: Name, plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Show the contract, settings and licence of a plugin."""
    from rilbench_plugins.describe import described
    from rilbench_plugins.find import find

    with prints_on_stderr():
        shown = described(find(catalog(plugin), name))
    if as_json:
        print_json(shown)
    else:
        settings = shown.pop("settings")
        print_fields({k: ", ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in shown.items()})
        if settings:
            head = ["setting", "type", "default", "range", "meaning"]
            print_table(head, [[s["name"], *(s[key] for key in head[1:])] for s in settings])


@app.command()
def check(
    name: Name,
    settings: Annotated[list[str] | None, typer.Argument(help="The plugin's settings as key=value")] = None,
    plugin: Plugins = None,
    image_size: Annotated[int, typer.Option(help="Side length of the test images in pixels")] = 64,
    prompts: Annotated[str | None, typer.Option(help="File with at least eight prompts, one per line")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the conformance checks of a plugin. Exit code 1: a check failed."""
    from dataclasses import asdict

    from rilbench.contracts.errors import UsageError
    from rilbench.contracts.settings import build
    from rilbench.engine.layers import values_of
    from rilbench.files.prompts import read_prompts
    from rilbench.testing import check_component, summary
    from rilbench_plugins.find import find

    found = find(catalog(plugin), name)
    if found.kind in UNCHECKED:
        raise UsageError(f"{found} has no conformance checks; {UNCHECKED[found.kind].format(name=found.name)}")
    shown = [prompt.text for prompt in read_prompts(prompts)] if prompts else None
    with prints_on_stderr():
        values = values_of(settings or ())
        component = found.load()
        if values:  # a wrong setting is not a fault of the component
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
    name: Annotated[str, typer.Argument(help="Name of the plugin and of its package, such as my-reward")],
    folder: Annotated[Path, typer.Option(help="Parent folder of the package")] = Path(),
) -> None:
    """Create a complete package with code, tests, README and CI."""
    from rilbench_plugins.scaffold import create

    made = create(kind, name, folder)
    echo(made)
    echo(f"next: pip install -e '{made}[test]', then pytest {made}", err=True)
