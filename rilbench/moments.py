"""Calls the hooks of `rilbench.hooks`: one broken plugin is reported and left out, the run goes on."""

from __future__ import annotations

from typing import Any

import pluggy

from rilbench.catalog import Catalog
from rilbench.hooks import Hooks
from rilbench.progress import Reporter


class Moments:
    """The hook plugins of one run."""

    def __init__(self, catalog: Catalog, reporter: Reporter, *, enabled: bool = True) -> None:
        self.reporter = reporter
        self.managers: dict[str, pluggy.PluginManager] = {}
        for name in catalog.names("hook") if enabled else ():
            manager = pluggy.PluginManager("rilbench")
            manager.add_hookspecs(Hooks)
            try:
                manager.register(catalog.get("hook", name).load()(), name)
                manager.check_pending()
            except Exception as error:  # whatever a stranger's constructor raises
                reporter.warn(f"hook plugin {name!r} is left out: {error}")
                continue
            self.managers[name] = manager

    def run_started(self, **arguments: Any) -> None:
        self._call("run_started", arguments)

    def stage_finished(self, **arguments: Any) -> None:
        self._call("stage_finished", arguments)

    def run_finished(self, **arguments: Any) -> None:
        self._call("run_finished", arguments)

    def run_failed(self, **arguments: Any) -> None:
        self._call("run_failed", arguments)

    def _call(self, moment: str, arguments: dict[str, Any]) -> None:
        for name, manager in list(self.managers.items()):
            try:
                getattr(manager.hook, moment)(**arguments)
            except Exception as error:
                self.reporter.warn(
                    f"hook plugin {name!r} failed in {moment} and is left out: {type(error).__name__}: {error}"
                )
                del self.managers[name]
