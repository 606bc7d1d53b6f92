"""Components that installed distributions register under `rilbench.*`, found without importing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, PackageMetadata, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from rilbench.contracts.errors import reason, unknown
from rilbench.host.plugin import UNKNOWN, Plugin, Status

GROUPS = {
    "reward": "rilbench.rewards",
    "metric": "rilbench.metrics",
    "strategy": "rilbench.strategies",
    "hook": "rilbench.hooks",
    "command": "rilbench.commands",
}
RESERVED = {("command", "run")}  # what no plugin can replace
NAME = re.compile(r"[^\W_][\w.-]*")  # names become parts of folders, `a,b` is a list, `a+b` a joint stage


def registered() -> list[Plugin]:
    """Every registered component of every distribution on the path.

    A distribution whose entry points cannot be read is one of kind `unknown`. Of two installations of the same
    distribution the first on the path counts, as it does for imports.
    """
    found: dict[str, list[Plugin]] = {}
    for distribution in distributions():
        plugins = list(_plugins(distribution))
        if plugins:
            name = plugins[0].distribution
            key = str(_folder(distribution)) if name == UNKNOWN else canonicalize_name(name)
            found.setdefault(key, plugins)
    return [plugin for plugins in found.values() for plugin in plugins]


def from_entry_point(point: EntryPoint, distribution: str = UNKNOWN, version: str = "") -> Plugin:
    """The component of one entry point; its status says so if it does not name an object in a module."""
    kind = next((kind for kind, group in GROUPS.items() if group == point.group), UNKNOWN)
    plugin = Plugin(kind=kind, name=point.name, value=point.value, distribution=distribution, version=version)
    why = _fault(kind, point)
    return plugin.marked(Status.BROKEN, why) if why else plugin


def _fault(kind: str, point: EntryPoint) -> str:
    if kind == UNKNOWN:
        return unknown("group of entry points", point.group, GROUPS.values())
    if not NAME.fullmatch(point.name):
        return f"the name {point.name!r} may contain only letters, digits and . _ -"
    if (kind, point.name) in RESERVED:
        return f"the {kind} {point.name!r} is rilbench's own; register another name"
    if not re.fullmatch(r"[\w.]+(:[\w.]+)?", point.value):
        return f"{point.value!r} is not of the form module:Class"
    return ""


def field(metadata: PackageMetadata, key: str) -> str:
    """A field of a distribution's metadata, or an empty text.

    A missing field is None, or raises KeyError once any library has imported the backport of this module.
    """
    return metadata[key] if key in metadata else ""  # noqa: SIM401  it has no `get` in Python 3.11


def _plugins(distribution: Distribution) -> Iterator[Plugin]:
    try:
        points = [point for point in distribution.entry_points if point.group.startswith("rilbench.")]
    except Exception as error:  # whatever the parser of a damaged file raises
        if _mentions_us(distribution):
            name, version = _identity(distribution)
            plugin = Plugin(kind=UNKNOWN, name="-", value="-", distribution=name, version=version)
            yield plugin.marked(Status.BROKEN, f"its entry_points.txt cannot be read ({reason(error)})")
        return
    if points:
        name, version = _identity(distribution)
        yield from (from_entry_point(point, name, version) for point in points)


def _mentions_us(distribution: Distribution) -> bool:
    """True if a damaged list of entry points, which may not be text, contains one of ours."""
    try:
        return b"rilbench." in (_folder(distribution) / "entry_points.txt").read_bytes()
    except (OSError, TypeError):  # no file: a finder of another kind
        return False


def _folder(distribution: Distribution) -> Path:
    """The folder of the metadata; importlib has no public name for it."""
    return Path(getattr(distribution, "_path", ""))


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version; a distribution with damaged metadata may have neither."""
    try:
        metadata = distribution.metadata
        return field(metadata, "Name") or UNKNOWN, field(metadata, "Version") or UNKNOWN
    except Exception:  # the metadata file is missing or no text
        return UNKNOWN, UNKNOWN
