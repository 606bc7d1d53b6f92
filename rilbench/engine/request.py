"""A user's request, from the command line or from Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rilbench.engine import continued
from rilbench.engine.config import load
from rilbench.engine.layers import values_of
from rilbench.engine.memo import Memo, Outcome, repeat
from rilbench.engine.progress import Reporter
from rilbench.engine.secret_settings import command_line
from rilbench.host.catalog import Catalog


class Request:
    """The configuration of a name or path with `key=value` settings and `options`, those of `config.load`; plugins that
    are not installed; and the `arguments` of the command line that asks for the same.

    config: None stands for the settings of the run to continue, or else for `shapes`.

    Raises ConfigError or PluginError if a part of it cannot be used.
    """

    def __init__(
        self,
        config: str | None,
        settings: Sequence[str],
        plugins: Sequence[str | type],
        *,
        quiet: bool,
        arguments: Sequence[str],
        **options: Any,
    ) -> None:
        self.given = values_of(settings)  # nested
        asked = {key: value for key, value in options.items() if value is not None} | self.given
        first = continued.first_layer(config, asked)
        self.config = continued.recorded(load(first, settings, **options))
        self.catalog = Catalog.of(plugins)
        self.reporter = Reporter(quiet=quiet)
        self.arguments = arguments

    @cached_property
    def command(self) -> str:
        """The command line without secrets; components declare which settings are secret."""
        return command_line(self.arguments, self.catalog)

    def run(self) -> Outcome:
        """The finished run: the stored one if nothing has changed, otherwise a new one."""
        memo = Memo(self.config, self.catalog, self.given)
        if outcome := repeat(memo, self.reporter.warn):
            return outcome
        from rilbench.engine.run import run

        return run(
            self.config,
            catalog=self.catalog,
            reporter=self.reporter,
            command=self.command,
            given=self.given,
            memo=memo,
        )
