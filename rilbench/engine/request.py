"""What a user asks for, read: on the command line or from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rilbench.engine.config import RunConfig, load
from rilbench.engine.layers import values_of
from rilbench.engine.memo import Memo, Outcome, repeat
from rilbench.engine.progress import Reporter
from rilbench.engine.secret_settings import command_line
from rilbench.host.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Request:
    """`given` are the nested values of the `key=value` settings alone, `arguments` those of the command line."""

    config: RunConfig
    catalog: Catalog
    given: Mapping[str, Any]
    reporter: Reporter
    arguments: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        config: str,
        settings: Sequence[str],
        plugins: Sequence[str | type],
        *,
        quiet: bool,
        arguments: Sequence[str],
        **options: Any,
    ) -> Request:
        """The request of a configuration's name or path, `key=value` settings and plugins that are not installed.

        options: those of `config.load`. arguments: of the command line that asks for the same.
        ConfigError or PluginError when something of it cannot be used.
        """
        loaded = load(config, settings, **options)
        return cls(
            config=loaded,
            catalog=Catalog.of(plugins),
            given=values_of(settings),
            reporter=Reporter(quiet=quiet),
            arguments=arguments,
        )

    @cached_property
    def command(self) -> str:
        """The command line without secrets: which settings are secret, the components say."""
        return command_line(self.arguments, self.catalog)

    def run(self) -> Outcome:
        """The finished run: found, when nothing has changed since, or done now."""
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
