"""The components of this installation: listed without importing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from rilbench.contracts.errors import ConfigError, PluginError, unknown
from rilbench.host import control, discovery
from rilbench.host.discovery import GROUPS
from rilbench.host.plugin import BY_HAND, OWN, UNKNOWN, Plugin, Status

COLUMNS = ("reward", "metric")  # share one set of names, because both are columns


class Catalog:
    """All registered components, and `extra` ones that are not installed."""

    def __init__(self, extra: Sequence[Plugin] = ()) -> None:
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
        plugins = [*map(control.controlled, discovery.registered()), *self.extra]
        order = [*GROUPS, UNKNOWN]
        return sorted(_with_conflicts(plugins), key=lambda p: (order.index(p.kind), p.name, p.origin))

    def names(self, kind: str) -> list[str]:
        """The names of a kind that can be selected."""
        return sorted({p.name for p in self.plugins if p.kind == kind and p.status != Status.OFF})

    def registered(self, kind: str) -> set[str]:
        """The names of a kind, including those that are off."""
        return {p.name for p in self.plugins if p.kind == kind}

    def get(self, kind: str, name: str) -> Plugin:
        """The plugin of a name. Raises ConfigError if there is none, PluginError if several claim it."""
        found = [p for p in self.plugins if (p.kind, p.name) == (kind, name)]
        active = [p for p in found if p.status != Status.OFF]
        if active:  # one that is known to be broken only when nothing else has the name
            return min(active, key=lambda p: p.status == Status.BROKEN)
        if found:
            raise ConfigError(f"{found[0]} is switched off: {found[0].why}")
        raise ConfigError(self._missing(kind, name))

    def check(self, warn: Callable[[str], None], requires: Sequence[str] = ()) -> None:
        """Warn once about each name that is not installed, and each component that is known to be unusable without its
        import. PluginError if something that a configuration requires is not installed.

        With RILBENCH_STRICT_PLUGINS=1 every component that is not off is imported, and PluginError names all that
        cannot be used. Hooks and commands are left to their callers.
        """
        if requires:
            from rilbench.host import requirements

            requirements.check(requires)
        components = [p for p in self.plugins if p.kind not in ("hook", "command") and p.status != Status.OFF]
        conflicts = {p.why: p.refusal for p in components if p.status == Status.CONFLICT}
        broken = [p.refusal for p in components if p.status == Status.BROKEN]
        faults = [*control.not_installed(self.plugins), *conflicts.values(), *broken]
        if control.strict():
            faults += [fault for p in components if p.status == Status.OK and (fault := _import_fault(p))]
            if faults:
                raise PluginError(f"{'; '.join(faults)}. {control.STRICT} is set, so nothing starts")
        for fault in faults:
            warn(fault)

    def _missing(self, kind: str, name: str) -> str:
        others = [p.kind for p in self.plugins if p.name == name and p.kind in GROUPS]
        hint = f" There is a {others[0]} of that name." if others else ""
        bare, known = name.replace(" ", ""), self.names(kind) if kind == "reward" else []
        hint += "".join(f" To subtract, write {n}+-1*{bare[len(n) + 1 :]}." for n in known if bare.startswith(f"{n}-"))
        return f"{unknown(kind, name, self.names(kind))}{hint} `rilbench plugins list` shows what is installed."


def _import_fault(plugin: Plugin) -> str:
    try:
        plugin.load()
    except PluginError as error:
        return str(error)
    return ""


def _with_conflicts(plugins: Sequence[Plugin]) -> list[Plugin]:
    """The plugins, marked if several claim a name."""
    claims: dict[tuple[str, str], list[Plugin]] = {}
    for plugin in plugins:
        if plugin.status == Status.OK:
            claims.setdefault(_claimed(plugin), []).append(plugin)
    return [_marked(plugin, claims.get(_claimed(plugin), [])) for plugin in plugins]


def _claimed(plugin: Plugin) -> tuple[str, str]:
    return "column" if plugin.kind in COLUMNS else plugin.kind, plugin.name


def _marked(plugin: Plugin, claims: Sequence[Plugin]) -> Plugin:
    if plugin.status != Status.OK or len(claims) < 2:
        return plugin
    who = " and ".join(sorted(f"{c.origin} ({c.kind} {c.value})" for c in claims))
    return plugin.marked(Status.CONFLICT, f"claimed by {who}; {_remedy(claims)}")


def _remedy(claims: Sequence[Plugin]) -> str:
    by_hand = next((c for c in claims if c.distribution == BY_HAND), None)
    if by_hand:
        return f"give one another name: --plugin my_{by_hand.name}={by_hand.value}"
    claim = next((c for c in claims if c.distribution != OWN), claims[0])
    alone = all(c.distribution == claim.distribution for c in claims)
    which = f"{claim.kind if alone else claim.distribution}{'/' if alone else ':'}{claim.name}"
    return f"switch one off, for example {control.DISABLE}={which}"
