"""Calls the hooks of `rilbench.hooks`, one plugin after the other: one that is broken or raises is reported and
skipped; the others and the run continue."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pluggy

from rilbench.contracts.errors import PluginError, RilbenchError, reason
from rilbench.contracts.hooks import Hooks
from rilbench.host import control, global_state
from rilbench.host.catalog import Catalog, Plugin

if TYPE_CHECKING:
    from rilbench.contracts.result import RunResult

Warn = Callable[[str], None]


class HookCaller:
    """The hook plugins of one run or one command line."""

    def __init__(self, catalog: Catalog, warn: Warn, *, enabled: bool = True) -> None:
        self.warn = warn
        self.manager = pluggy.PluginManager("rilbench")
        self.manager.add_hookspecs(Hooks)
        self.plugins: dict[str, Plugin] = {}
        for name in catalog.names("hook") if enabled else ():
            plugin = catalog.get("hook", name)
            with global_state.kept(str(plugin), warn):
                try:
                    self._register(plugin)
                    self.plugins[name] = plugin
                except PluginError as error:
                    self._left_out(f"{error}; it is skipped", error)

    def _register(self, plugin: Plugin) -> None:
        """Raises PluginError if the plugin cannot be created or implements an unknown hook."""
        loaded = plugin.load()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
                self.manager.register(loaded() if isinstance(loaded, type) else loaded, plugin.name)
            self.manager.check_pending()
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:  # whatever a plugin's constructor raises
            if self.manager.has_plugin(plugin.name):
                self.manager.unregister(name=plugin.name)
            raise PluginError(f"{plugin} cannot be registered: {reason(error)}") from error

    def run_started(self, **arguments: Any) -> None:
        self._call("run_started", arguments)

    def stage_finished(self, **arguments: Any) -> None:
        self._call("stage_finished", arguments)

    def run_finished(self, **arguments: Any) -> None:
        self._call("run_finished", arguments)

    def run_failed(self, **arguments: Any) -> None:
        try:
            self._call("run_failed", arguments)
        except PluginError as error:  # must not hide why the run failed
            self.warn(str(error))

    def summary(self, **arguments: Any) -> dict[str, str]:
        """Name to text of the lines that plugins print under the result; the first plugin of a name wins."""
        return self._lines("summary", arguments)

    def study_finished(self, **arguments: Any) -> dict[str, str]:
        """Lines like those of `summary`, for a study."""
        return self._lines("study_finished", arguments)

    def find_runs(self, source: str) -> list[RunResult]:
        """The runs that a plugin returns for an address; empty if no plugin supports it.

        Raises RilbenchError if the plugin of the address cannot read it, for example because a server is down.
        """
        answers = self._call("find_runs", {"source": source}, read=list, raised=(RilbenchError,))
        return [run for _, answer in answers for run in answer]

    def _lines(self, hook: str, arguments: dict[str, Any]) -> dict[str, str]:
        lines: dict[str, str] = {}
        for _, answer in self._call(hook, arguments, read=dict):
            for key, text in answer.items():
                lines.setdefault(str(key), str(text))
        return lines

    def _call(
        self,
        hook: str,
        arguments: dict[str, Any],
        *,
        read: Callable[[Any], Any] = lambda answer: answer,
        raised: tuple[type[Exception], ...] = (),
    ) -> list[tuple[str, Any]]:
        """The results of the plugins that implement the hook, each through `read`; `raised` is for the user."""
        answers = []
        for name, plugin in list(self.plugins.items()):
            others = [other for other_name, other in self.manager.list_name_plugin() if other_name != name]
            call = self.manager.subset_hook_caller(hook, others)
            try:
                with contextlib.redirect_stdout(sys.stderr), global_state.modes_kept(str(plugin)):
                    answers += [(name, read(answer)) for answer in call(**_own(arguments))]
            except KeyboardInterrupt:  # the user's
                raise
            except raised:
                raise
            except BaseException as error:  # asyncio's and other libraries' cancellations are no Exception
                del self.plugins[name]
                self.manager.unregister(name=name)
                self._left_out(f"{plugin} failed in {hook}: {reason(error)}; it is skipped", error)
        return answers

    def _left_out(self, why: str, error: BaseException) -> None:
        if control.strict():
            raise PluginError(f"{why}. {control.STRICT} is set") from error
        self.warn(why)


def _own(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments for one plugin, with its own copy of the result, so that its changes affect no other plugin."""
    return {key: deepcopy(value) if key.startswith("result") else value for key, value in arguments.items()}
