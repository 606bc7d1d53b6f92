"""Which installed plugins are active: two lists in the environment.

Both contain names of components (`warmth` or `reward/warmth`), of distributions, or both (`acme:warmth`), separated by
commas. If RILBENCH_PLUGINS is set, even to an empty text, every plugin it does not name is off, except those of
rilbench.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from packaging.utils import canonicalize_name

from rilbench.host.plugin import OWN, Plugin, Status

ALLOW, DISABLE, STRICT = "RILBENCH_PLUGINS", "RILBENCH_DISABLE_PLUGINS", "RILBENCH_STRICT_PLUGINS"


def strict() -> bool:
    """True if any broken plugin is an error."""
    return os.environ.get(STRICT, "").lower() not in ("", "0", "false", "no")


def controlled(plugin: Plugin) -> Plugin:
    """The plugin, marked if it is off."""
    if _is_named(plugin, DISABLE):
        return plugin.marked(Status.OFF, f"by {DISABLE}")
    if ALLOW in os.environ and plugin.distribution != OWN and not _is_named(plugin, ALLOW):
        return plugin.marked(Status.OFF, f"not in {ALLOW}")
    return plugin


def not_installed(plugins: Sequence[Plugin]) -> list[str]:
    """One line for each listed name that is not installed; it is probably misspelt."""
    known = {name for plugin in plugins for name in _names(plugin)}
    return [
        f"{variable} names {text!r}, which is not installed; correct or remove the name"
        for variable in (ALLOW, DISABLE)
        for text, forms in _listed(variable).items()
        if not forms & known
    ]


def _is_named(plugin: Plugin, variable: str) -> bool:
    return any(forms & _names(plugin) for forms in _listed(variable).values())


def _names(plugin: Plugin) -> set[str]:
    distribution = canonicalize_name(plugin.distribution)
    return {plugin.name, f"{plugin.kind}/{plugin.name}", distribution, f"{distribution}:{plugin.name}"}


def _listed(variable: str) -> dict[str, set[str]]:
    """Each listed name as it is written, and also with its distribution as pip compares it."""
    forms = {}
    for text in filter(None, map(str.strip, os.environ.get(variable, "").split(","))):
        distribution, colon, name = text.partition(":")
        forms[text] = {text, f"{canonicalize_name(distribution)}{colon}{name}"}
    return forms
