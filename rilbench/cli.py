"""The command line. Results go to stdout, progress and errors to stderr; heavy imports wait for the command."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rilbench.errors import RilbenchError

app = typer.Typer(
    help="Tune a text-to-image model on one reward after another, and see what it forgets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plugins_app = typer.Typer(help="What is installed.", no_args_is_help=True)
app.add_typer(plugins_app, name="plugins")

Settings = Annotated[list[str] | None, typer.Argument(help="Settings as key=value, for example train.lr=1e-3")]
Strategy = Annotated[str | None, typer.Option("--strategy", "-s", help="rid, baseline, joint, soup or a plugin's")]
Rewards = Annotated[str | None, typer.Option("--rewards", "-r", help="In training order: aesthetic,hps")]
Config = Annotated[str, typer.Option("--config", "-c", help="Name of a shipped configuration, or a .yaml file")]
Seed = Annotated[int | None, typer.Option(help="Seed of initial weights, training prompts and noise")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


@app.command()
def run(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    config: Config = "shapes",
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Train a sequence of rewards and measure every metric after each.

    The same command again continues a stopped run, or prints a finished one at once.
    """
    from rilbench import engine
    from rilbench.catalog import Catalog
    from rilbench.config import load
    from rilbench.progress import Reporter

    _quiet_libraries()
    loaded = load(config, settings or (), strategy=strategy, rewards=rewards, seed=seed)
    command = engine.repeat_command(sys.argv[1:])
    try:
        folder, result = engine.run(loaded, catalog=Catalog(), reporter=Reporter(), command=command)
    except KeyboardInterrupt:  # Typer would turn it into a silent exit
        Console(stderr=True).print("interrupted; finished work is kept, the same command continues")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(result.to_json() | {"folder": str(folder)})
        return
    _print_result(folder, result)


@app.command()
def explain(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    config: Config = "shapes",
    seed: Seed = None,
    as_json: Json = False,
) -> None:
    """Print the plan, the resolved settings and an estimate of time and memory; train nothing."""
    from rilbench.catalog import Catalog
    from rilbench.config import load
    from rilbench.engine import prepare
    from rilbench.explain import explain as explained
    from rilbench.report.explained import show

    _quiet_libraries()
    loaded = load(config, settings or (), strategy=strategy, rewards=rewards, seed=seed)
    told = explained(loaded, *prepare(loaded, Catalog()))
    if as_json:
        _print_json(told)
    else:
        show(told, _stdout())


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs")],
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown")] = False,
) -> None:
    """Put finished runs side by side: mean over seeds, 95 % interval, forgetting."""
    from rilbench.report.compare import compare as compared
    from rilbench.report.compare import markdown, terminal
    from rilbench.result import RunResult

    groups = compared([RunResult.load(folder) for folder in runs])
    if as_json:
        _print_json([group.to_json() for group in groups])
    elif as_markdown:
        typer.echo(markdown(groups))
    else:
        _stdout().print(terminal(groups))


@app.command()
def upload(run: Annotated[Path, typer.Argument(help="Folder of a run")]) -> None:
    """Send a run to MLflow that could not be sent while it ran; nothing is sent twice."""
    from rilbench_mlflow import sync

    _quiet_libraries()
    typer.echo(sync(run))


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on this machine")] = 5000) -> None:
    """Open the MLflow UI on the runs of this folder."""
    from rilbench_mlflow.ui import serve

    raise typer.Exit(serve(port))


@plugins_app.command("list")
def plugins_list(as_json: Json = False) -> None:
    """Kind, name, distribution, version and status of every plugin; imports none of them."""
    from rilbench.catalog import Catalog

    found = Catalog().plugins
    rows = [[p.kind, p.name, p.distribution, p.version, p.status] for p in found]
    head = ["kind", "name", "distribution", "version", "status"]
    if as_json:
        _print_json([dict(zip(head, row, strict=True)) for row in rows])
        return
    from rich.table import Table

    table = Table(*head)
    for row in rows:
        table.add_row(*row)
    _stdout().print(table)


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except RilbenchError as error:
        if os.environ.get("RILBENCH_DEBUG"):
            raise
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(error)}", soft_wrap=True, highlight=False)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        Console(stderr=True).print(f"[red]error:[/red] {_escaped(error)}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None


def _terminate(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _escaped(error: Exception) -> str:
    from rich.markup import escape

    return escape(str(error))


def _stdout() -> Console:
    """Tables keep their width when stdout is a file or a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _print_result(folder: Path, result: Any) -> None:
    from rilbench.report.tables import terminal

    console = _stdout()
    console.print(terminal(result))
    lines = {"result": folder / "result.json", "pictures": folder / "samples.png", "repeat": result.command}
    try:
        from rilbench_mlflow import location

        lines["mlflow"] = location(folder) or "not logged"
    except ImportError:
        pass
    for name, value in lines.items():
        console.print(f"{name:9} {value}", soft_wrap=True, highlight=False, markup=False)


def _print_json(value: Any) -> None:
    from rilbench.store import finite

    typer.echo(json.dumps(finite(value), indent=1))


def _quiet_libraries() -> None:
    """Keep the chatter and progress bars of the libraries off the user's screen."""
    import logging

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    logging.getLogger().setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


if __name__ == "__main__":
    main()
