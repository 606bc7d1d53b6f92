"""What a user asks for, read: on the command line or from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rilbench.engine.config import RunConfig, load
from rilbench.engine.layers import values_of
from rilbench.engine.progress import Reporter
from rilbench.engine.secret_settings import command_line
from rilbench.host import control
from rilbench.host.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Request:
    """`given` are the nested values of the `key=value` settings alone; `command` is a command line without secrets."""

    config: RunConfig
    catalog: Catalog
    given: Mapping[str, Any]
    reporter: Reporter
    command: str

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
        catalog = Catalog([control.given(plugin) for plugin in plugins])
        return cls(
            config=loaded,
            catalog=catalog,
            given=values_of(settings),
            reporter=Reporter(quiet=quiet),
            command=command_line(arguments, catalog),
        )
