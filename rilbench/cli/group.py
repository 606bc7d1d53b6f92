"""The group of commands: `run`, and those registered as `rilbench.commands`. Listing them imports none."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from rilbench.cli.output import echo, warn
from rilbench.contracts.errors import PluginError, UsageError, unknown
from rilbench.host import control
from rilbench.host.plugin import Plugin, Status

if TYPE_CHECKING:
    from rilbench.host.catalog import Catalog

INTERRUPTED = "interrupted; finished work is kept; rerun the command to resume"


class Listed(TyperCommand):
    """A registered command that is not imported yet."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__(plugin.name)
        self.plugin = plugin

    def get_short_help_str(self, limit: int = 45) -> str:
        from rilbench.cli.summary import summary

        return summary(self.plugin.value)

    def imported(self) -> Any:
        """The command itself; PluginError if it cannot be imported or Typer cannot read it."""
        from rilbench.host.guard import made

        registered = self.plugin.load()
        with made(str(self.plugin), "cannot be read by Typer"):
            parent = typer.Typer(rich_markup_mode=None)  # brackets in a help text are brackets
            add(parent, self.plugin.name, registered)
            return typer.main.get_group(parent).commands[self.plugin.name]


class Commands(TyperGroup):
    """A command's module is imported when the command is called."""

    @cached_property
    def catalog(self) -> Catalog:
        from rilbench.host.catalog import Catalog

        return Catalog()

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Typer would turn it into a silent exit
            echo(INTERRUPTED, err=True)
            raise typer.Exit(130) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """The names; prints a warning for each that cannot be used, an error with RILBENCH_STRICT_PLUGINS=1."""
        registered = [plugin for plugin in self.catalog.plugins if plugin.kind == "command"]
        for fault in dict.fromkeys(p.refusal for p in registered if p.status not in (Status.OK, Status.OFF)):
            if control.strict():
                raise PluginError(f"{fault}. {control.STRICT} is set")
            warn(fault)
        return [*self.commands, *(plugin.name for plugin in registered if plugin.status == Status.OK)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name not in self.catalog.registered("command"):
            known = (*self.commands, *self.catalog.names("command"))
            raise UsageError(f"{unknown('command', cmd_name, known)} `rilbench --help` describes them.")
        return Listed(self.catalog.get("command", cmd_name))

    def get_help_option(self, ctx: Any) -> Any:
        return _flag(super().get_help_option(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, Listed):
            command = command.imported()
        for each in (command, *getattr(command, "commands", {}).values()):
            _flag(each.get_help_option(ctx))  # which each keeps
        return name, command, rest


def add(parent: typer.Typer, name: str, registered: Any) -> None:
    """Add what an entry point of `rilbench.commands` names: a function or a group of commands."""
    if isinstance(registered, typer.Typer):
        parent.add_typer(registered, name=name)
    else:
        parent.command(name)(registered)


def _flag(option: Any) -> Any:
    """The option --help with the default False: for None, Typer would import pydantic to make a bool of it."""
    if option is not None:
        option.default = False
    return option
