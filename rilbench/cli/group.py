"""The group of commands: rilbench's own, and those of hook plugins, which are imported only when they are needed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import typer
from rich.markup import escape

from rilbench.cli.quick import QuickGroup
from rilbench.contracts.errors import reason
from rilbench.engine.terminal import Terminal, echo


class Commands(QuickGroup):
    """Plugins are asked for commands when help is printed or a command is unknown; they cannot replace one of ours."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Typer would turn it into a silent exit
            echo("interrupted", err=True)
            raise typer.Exit(130) from None

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *self.added]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or self.added.get(cmd_name)

    @cached_property
    def added(self) -> dict[str, Any]:
        """The commands of hook plugins. One that is taken or cannot be read is left out with a warning."""
        from rilbench.host.catalog import Catalog
        from rilbench.host.hook_caller import HookCaller

        found: dict[str, Any] = {}
        for plugin, name, function in HookCaller(Catalog(), _warn).commands():
            if not isinstance(name, str):
                _warn(f"{plugin} adds a command whose name is {name!r}, no text; it is skipped")
                continue
            if name in self.commands or name in found:
                _warn(f"{plugin} adds the command {name!r}, which exists already; it is skipped")
                continue
            try:
                found[name] = _command(name, function)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # Typer on a plugin's annotations
                _warn(f"{plugin}: the command {name!r} is left out: {reason(error)}")
        return found


def _command(name: str, function: Any) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)  # brackets of a stranger's text are brackets
    app.command(name)(function)
    made = typer.main.get_command(app)
    made.short_help = escape(made.get_short_help_str(limit=80))  # ours are listed with markup
    return made


def _warn(text: str) -> None:
    Terminal(stderr=True).print(f"[yellow]warning:[/yellow] {escape(text)}", soft_wrap=True, highlight=False)
