"""Calls the hooks of `rilbench.hooks`, one plugin after the other: one that is broken or raises is reported and
skipped; the others and the run continue."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pluggy

from rilbench.contracts.errors import ConfigError, PluginError, RilbenchError
from rilbench.contracts.hooks import Hooks
from rilbench.host import control
from rilbench.host.catalog import Catalog
from rilbench.host.guard import blamed, made
from rilbench.host.plugin import Plugin

if TYPE_CHECKING:
    from rilbench.contracts.result import RunResult

Warn = Callable[[str], None]


class HookCaller:
    """The hook plugins of one run or one command line; `plugins` are those that are not skipped.

    named: the optional ones that are used. RilbenchError for one that is unknown or cannot be used.

    Each has a pluggy manager of its own, because pluggy stops at the first plugin that raises.
    """

    def __init__(self, catalog: Catalog, warn: Warn, *, enabled: bool = True, named: Sequence[str] = ()) -> None:
        self.warn = warn
        self._copies: dict[str, tuple[RunResult, RunResult]] = {}  # of the result, by plugin: the engine's and its own
        for name in named:
            catalog.get("hook", name)
        self.plugins: dict[str, tuple[Plugin, pluggy.PluginManager]] = {}
        for name in catalog.names("hook") if enabled else ():
            plugin = catalog.get("hook", name)
            try:
                if name in named or not getattr(plugin.load(), "optional", False):
                    self.plugins[name] = plugin, _registered(plugin)
            except PluginError as error:
                if name not in named:
                    self._left_out(error)
                elif isinstance(error.__cause__, ConfigError):  # it says itself what is missing
                    raise error.__cause__ from None
                else:
                    raise

    def listens(self, hook: str) -> bool:
        """Whether a plugin implements a hook."""
        return any(_implements(manager, hook) for _, manager in self.plugins.values())

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook that returns nothing."""
        self._answers(hook, arguments)

    def run_failed(self, **arguments: Any) -> None:
        """Call the hook of that name; nothing of it hides why the run failed."""
        try:
            self._answers("run_failed", arguments)
        except PluginError as error:
            self.warn(str(error))

    def lines(self, hook: str, **arguments: Any) -> dict[str, str]:
        """Name to text of the lines that `summary` or `study_finished` returns; the first plugin of a name wins."""
        lines: dict[str, str] = {}
        for answer in self._answers(hook, arguments, read=dict):
            for key, text in answer.items():
                lines.setdefault(str(key), str(text))
        return lines

    def find_runs(self, source: str) -> list[RunResult]:
        """The runs that a plugin returns for an address; empty if no plugin supports it.

        Raises RilbenchError if the plugin of the address cannot read it, for example because a server is down.
        """
        answers = self._answers("find_runs", {"source": source}, read=list, passed_on=(RilbenchError,))
        return [run for answer in answers for run in answer]

    def _answers(
        self,
        hook: str,
        arguments: dict[str, Any],
        *,
        read: Callable[[Any], Any] = lambda answer: answer,
        passed_on: tuple[type[Exception], ...] = (),
    ) -> list[Any]:
        """The results of the plugins that implement the hook, each through `read`; errors that are `passed_on`
        are for the user."""
        answers = []
        for name, (plugin, manager) in list(self.plugins.items()):
            if not _implements(manager, hook):
                continue
            try:
                with redirect_stdout(sys.stderr), blamed(str(plugin), f"failed in {hook}", passed_on=passed_on):
                    answers += [read(answer) for answer in getattr(manager.hook, hook)(**self._own(name, arguments))]
            except PluginError as error:
                del self.plugins[name]
                self._left_out(error)
        return answers

    def _own(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments for one plugin, with its own copy of the result, so that its changes affect no other plugin. It is
        made once for all updates of a stage: a result of many stages takes longer to copy than a small update."""
        if "results" in arguments:
            return arguments | {"results": deepcopy(arguments["results"])}
        if (result := arguments.get("result")) is None:
            return arguments
        if name not in self._copies or self._copies[name][0] is not result:
            self._copies[name] = result, deepcopy(result)
        return arguments | {"result": self._copies[name][1]}

    def _left_out(self, error: PluginError) -> None:
        if control.strict():
            raise PluginError(f"{error}; it is skipped. {control.STRICT} is set") from error.__cause__
        self.warn(f"{error}; it is skipped")


def _registered(plugin: Plugin) -> pluggy.PluginManager:
    """Raises PluginError if the plugin cannot be created or implements an unknown hook."""
    loaded = plugin.load()
    manager = pluggy.PluginManager("rilbench")
    manager.add_hookspecs(Hooks)
    with made(str(plugin), "cannot be registered"):
        manager.register(loaded() if isinstance(loaded, type) else loaded, plugin.name)
        manager.check_pending()
    return manager


def _implements(manager: pluggy.PluginManager, hook: str) -> bool:
    return bool(getattr(manager.hook, hook).get_hookimpls())
