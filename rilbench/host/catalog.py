"""The components of this installation: listed without importing them, imported under guard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import Any

from rilbench.contracts.errors import ConfigError, PluginError, reason, unknown
from rilbench.host import contract_check, control, discovery, global_state, threads
from rilbench.host.discovery import GROUPS, OK, Entry

ELSEWHERE = ("hook", "command")  # kinds that a survey leaves to whoever calls them


class Plugin(Entry):
    """One registered component, not yet imported."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.origin} ({self.value})"

    @property
    def refusal(self) -> str:
        """Why it cannot be used, if that is known before the import."""
        who = f"{self.kind} {self.name!r}" if self.conflicting else str(self)
        return f"{who} cannot be used: {self.status}"

    @property
    def conflicting(self) -> bool:
        """True if another distribution claims the name."""
        return self.status.startswith("conflict:")

    def load(self) -> Any:
        """Import the component. Raises PluginError naming its distribution, caused by the plugin's own error."""
        if self.status != OK:
            raise PluginError(self.refusal)
        try:
            with contextlib.redirect_stdout(sys.stderr), threads.owned(str(self)):  # stdout is for results
                loaded = self._imported()
                fault = contract_check.fault(self.kind, loaded)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may even call sys.exit
            raise PluginError(f"{self} cannot be imported: {reason(error)}") from error
        if fault:
            raise PluginError(f"{self} {fault}")
        return loaded

    def _imported(self) -> Any:
        if self.loaded is not None:
            return self.loaded
        module, _, attribute = self.value.partition(":")
        loaded: Any = import_module(module)
        for part in filter(None, attribute.split(".")):
            loaded = getattr(loaded, part)
        return loaded


class Catalog:
    """All registered components, and `extra` ones that are not installed."""

    def __init__(self, extra: Sequence[Entry] = ()) -> None:
        self.extra = tuple(extra)

    @classmethod
    def of(cls, plugins: Sequence[str | type] | None) -> Catalog:
        """What is installed, and the components given for one command or call."""
        if not plugins:
            return cls()
        from rilbench.host.given import given

        return cls([given(plugin) for plugin in plugins])

    @cached_property
    def plugins(self) -> list[Plugin]:
        """Sorted by kind and name. Plugins that are off, broken or in conflict are included; `status` says so."""
        entries = _with_conflicts([*control.controlled(discovery.entries()), *self.extra])
        order = [*GROUPS, "unknown"]
        plugins = [Plugin(**vars(entry)) for entry in entries]
        return sorted(plugins, key=lambda p: (order.index(p.kind), p.name, p.origin))

    def names(self, kind: str) -> list[str]:
        """The names of a kind that can be selected."""
        return sorted({p.name for p in self.plugins if p.kind == kind and not control.off(p)})

    def registered(self, kind: str) -> set[str]:
        """The names of a kind, including those that are off."""
        return {p.name for p in self.plugins if p.kind == kind}

    def get(self, kind: str, name: str) -> Plugin:
        """The plugin of a name. Raises ConfigError if there is none, PluginError if several claim it."""
        found = [p for p in self.plugins if (p.kind, p.name) == (kind, name)]
        active = [p for p in found if not control.off(p)]
        if active:  # one that is known to be broken only when nothing else has the name
            return min(active, key=lambda p: p.status.startswith("broken:"))
        if found:
            raise ConfigError(f"{found[0]} is switched off: {found[0].status.removeprefix('off: ')}")
        raise ConfigError(self._missing(kind, name))

    def survey(self, warn: Callable[[str], None]) -> None:
        """Import every component that is not off, and warn once about each that cannot be used.

        Changes of an import to the whole process, such as torch's default dtype, are undone. Raises PluginError, naming
        them all, with RILBENCH_STRICT_PLUGINS=1. Hooks and commands are left to their callers.
        """
        faults = [*control.not_installed(self.plugins), *self._conflicts(), *self._broken()]
        if faults and control.strict():
            raise PluginError(f"{'; '.join(faults)}. {control.STRICT} is set, so nothing starts")
        for fault in faults:
            warn(fault)

    def _missing(self, kind: str, name: str) -> str:
        from rilbench.host.known import pip_line

        line = pip_line(kind, name)
        if line:
            return f"{kind} {name!r} is known but not installed; install it with: {line}"
        others = [p.kind for p in self.plugins if p.name == name and p.kind in GROUPS]
        hint = f" There is a {others[0]} of that name." if others else ""
        return f"{unknown(kind, name, self.names(kind))}{hint} `rilbench plugins list` shows what is installed."

    def _conflicts(self) -> Iterable[str]:
        return {p.status: p.refusal for p in self.plugins if p.conflicting and p.kind not in ELSEWHERE}.values()

    def _broken(self) -> list[str]:
        faults: list[str] = []
        for plugin in self.plugins:
            if plugin.kind in ELSEWHERE or control.off(plugin) or plugin.conflicting:
                continue
            with global_state.kept(str(plugin), faults.append):
                try:
                    plugin.load()
                except PluginError as error:
                    faults.append(f"{error}; everything else works")
        return faults


def _with_conflicts(entries: Sequence[Entry]) -> list[Entry]:
    """Names that several entries claim. Rewards and metrics share one set of names, because both are columns."""
    claims: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.status == OK:
            claims.setdefault((_space(entry.kind), entry.name), []).append(entry)
    return [_marked(entry, claims.get((_space(entry.kind), entry.name), [])) for entry in entries]


def _space(kind: str) -> str:
    return "column" if kind in ("reward", "metric") else kind


def _marked(entry: Entry, claims: Sequence[Entry]) -> Entry:
    if entry.status != OK or len(claims) < 2:
        return entry
    who = " and ".join(sorted(f"{c.origin} ({c.kind} {c.value})" for c in claims))
    return replace(entry, status=f"conflict: claimed by {who}; {_remedy(claims)}")


def _remedy(claims: Sequence[Entry]) -> str:
    by_hand = next((c for c in claims if c.distribution == control.BY_HAND), None)
    if by_hand:
        return f"give one another name: --plugin my_{by_hand.name}={by_hand.value}"
    claim = next((c for c in claims if c.distribution != control.OWN), claims[0])
    alone = all(c.distribution == claim.distribution for c in claims)
    shared = any(c.name == claim.distribution for c in claims)  # the name of the distribution is that of the component
    which = (
        f"{claim.kind}/{claim.name}"
        if alone
        else f"{claim.distribution}:{claim.name}"
        if shared
        else claim.distribution
    )
    return f"switch one off, for example {control.DISABLE}={which}"
