"""Options that several commands take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rilbench.host.catalog import Catalog

Settings = Annotated[list[str] | None, typer.Argument(help="Settings as key=value, for example train.lr=1e-3")]
Strategy = Annotated[str | None, typer.Option("--strategy", "-s", help="rid, baseline, joint, soup or a plugin's")]
Rewards = Annotated[str | None, typer.Option("--rewards", "-r", help="In training order: aesthetic,hps")]
Config = Annotated[str, typer.Option("--config", "-c", help="Name of a shipped configuration, or a .yaml file")]
Seed = Annotated[int | None, typer.Option(help="Seed of initial weights, training prompts and noise")]
Given = Annotated[
    list[str] | None,
    typer.Option("--plugin", "-p", help="A component that is not installed, as module:Class or name=module:Class"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr, only warnings")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]


def catalog(given: Sequence[str] | None = None) -> Catalog:
    """What is installed, and what `--plugin` adds."""
    from rilbench.host import control
    from rilbench.host.catalog import Catalog

    return Catalog([control.given(text) for text in given or ()])
