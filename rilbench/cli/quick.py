"""Commands that start without pydantic: Typer would load it to read the value None of a --help that is not given."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _WithoutHelp:
    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default = False  # a bool, which Typer takes as it is
        return option


class QuickCommand(_WithoutHelp, TyperCommand):
    """A command whose options are flags."""


class QuickGroup(_WithoutHelp, TyperGroup):
    """A group of commands."""
