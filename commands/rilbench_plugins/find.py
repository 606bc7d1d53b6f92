"""Finds the plugin with a given name."""

from __future__ import annotations

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.host.catalog import Catalog
from rilbench.host.discovery import GROUPS
from rilbench.host.plugin import Plugin


def find(catalog: Catalog, name: str) -> Plugin:
    """The plugin with a name or kind/name. Raises ConfigError if there is none, or several kinds have one."""
    kind, _, bare = name.rpartition("/")
    kinds = [k for k in GROUPS if bare in catalog.names(k) and k == (kind or k)]
    if len(kinds) > 1:
        choices = " or ".join(f"{k}/{bare}" for k in kinds)
        raise ConfigError(f"{name!r} is ambiguous; use {choices}")
    if kinds:
        return catalog.get(kinds[0], bare)
    off = [k for k in GROUPS if bare in catalog.registered(k) and k == (kind or k)]
    if kind in GROUPS or off:
        return catalog.get(kind or off[0], bare)
    everything = [n for k in GROUPS for n in catalog.names(k)]
    raise ConfigError(f"{unknown('plugin', name, everything)} `rilbench plugins list` shows what is installed.")
