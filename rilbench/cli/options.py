"""Options that several commands share, and the request they make."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rilbench.engine.request import Request
    from rilbench.host.catalog import Catalog

Settings = Annotated[list[str] | None, typer.Argument(help="Settings as key=value, for example train.lr=1e-3")]
Strategy = Annotated[str | None, typer.Option("--strategy", "-s", help="rid, baseline, joint, soup or from a plugin")]
Rewards = Annotated[str | None, typer.Option("--rewards", "-r", help="In training order, for example aesthetic,hps")]
Config = Annotated[str, typer.Option("--config", "-c", help="Name of a shipped configuration, or a .yaml file")]
RunConfiguration = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help="Name of a shipped configuration, or a .yaml file [default: shapes; with --after, that run's]",
    ),
]
After = Annotated[
    str | None,
    typer.Option(
        help="Continue this run: its folder or its name in the store, with @N to continue it after its stage N"
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of initial pairs, training prompts and noise")]
Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", "-p", help="A component that is not installed: module:Class or name=module:Class"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings but no progress")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


def requested(
    config: str | None,
    settings: Sequence[str] | None,
    plugins: Sequence[str] | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> Request:
    """The configuration, plugins and progress of options as declared above; `options` are those of `config.load`.

    Raises ConfigError or PluginError if they cannot be used.
    """
    from rilbench.engine.request import Request

    return Request(config, settings or (), plugins or (), quiet=quiet, arguments=sys.argv[1:], **options)


def catalog(plugins: Sequence[str] | None = None) -> Catalog:
    """The installed components and those that `--plugin` adds."""
    from rilbench.host.catalog import Catalog

    return Catalog.of(plugins)
