"""Which rewards, metrics, strategies and hooks are installed, found without importing any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rilbench.contracts import API_VERSION, Component, Metric, Reward, Strategy
from rilbench.errors import ConfigError, PluginError, unknown

GROUPS = {
    "reward": "rilbench.rewards",
    "metric": "rilbench.metrics",
    "strategy": "rilbench.strategies",
    "hook": "rilbench.hooks",
}
CONTRACTS: dict[str, type[Component]] = {"reward": Reward, "metric": Metric, "strategy": Strategy}


@dataclass(frozen=True)
class Plugin:
    """One registered component, not yet imported."""

    kind: str
    name: str
    entry_point: EntryPoint
    status: str = "ok"

    @property
    def distribution(self) -> str:
        return self.entry_point.dist.name if self.entry_point.dist else "unknown"

    @property
    def version(self) -> str:
        return self.entry_point.dist.version if self.entry_point.dist else "unknown"

    def load(self) -> Any:
        """Import the component; PluginError with the reason and the distribution to blame when it cannot be."""
        where = f"{self.kind} {self.name!r} of {self.distribution} {self.version} ({self.entry_point.value})"
        if self.status != "ok":
            raise PluginError(f"{where}: {self.status}")
        try:
            loaded = self.entry_point.load()
        except Exception as error:
            raise PluginError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
        contract = CONTRACTS.get(self.kind)
        if contract is None:
            return loaded
        if not (isinstance(loaded, type) and issubclass(loaded, contract)):
            raise PluginError(f"{where} is not a subclass of rilbench.{contract.__name__}")
        if loaded.api_version not in (API_VERSION, API_VERSION - 1):
            raise PluginError(f"{where} is for API version {loaded.api_version}; this rilbench has {API_VERSION}")
        return loaded


class Catalog:
    """All registered components, and `extra` ones that are not installed."""

    def __init__(self, extra: Sequence[EntryPoint] = ()) -> None:
        self.extra = tuple(extra)

    @cached_property
    def plugins(self) -> list[Plugin]:
        """Sorted by kind and name; a name that two distributions claim is kept twice, as a conflict."""
        found = [
            Plugin(kind, ep.name, ep)
            for kind, group in GROUPS.items()
            for ep in (*entry_points(group=group), *(e for e in self.extra if e.group == group))
        ]
        found = list({(p.kind, p.name, p.entry_point.value, p.distribution): p for p in found}.values())
        claims: dict[tuple[str, str], list[str]] = {}
        for plugin in found:
            claims.setdefault((plugin.kind, plugin.name), []).append(plugin.distribution)
        order = list(GROUPS)
        return sorted(
            (self._marked(p, claims[p.kind, p.name]) for p in found), key=lambda p: (order.index(p.kind), p.name)
        )

    @staticmethod
    def _marked(plugin: Plugin, claims: list[str]) -> Plugin:
        if len(claims) == 1:
            return plugin
        return Plugin(plugin.kind, plugin.name, plugin.entry_point, f"claimed by {' and '.join(sorted(claims))}")

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind."""
        return sorted({p.name for p in self.plugins if p.kind == kind})

    def get(self, kind: str, name: str) -> Plugin:
        """The plugin of a name; ConfigError with a suggestion when there is none."""
        for plugin in self.plugins:
            if (plugin.kind, plugin.name) == (kind, name):
                return plugin
        raise ConfigError(f"{unknown(kind, name, self.names(kind))} `rilbench plugins list` shows what is installed.")
