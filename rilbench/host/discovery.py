"""Components that installed distributions register under `rilbench.*`, found without importing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, PackageMetadata, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from rilbench.contracts.errors import reason, unknown

GROUPS = {
    "reward": "rilbench.rewards",
    "metric": "rilbench.metrics",
    "strategy": "rilbench.strategies",
    "hook": "rilbench.hooks",
    "command": "rilbench.commands",
}
RESERVED = {("command", "run")}  # what no plugin can replace
NAME = re.compile(r"[^\W_][\w.-]*")  # names become parts of folders, `a,b` is a list, `a+b` a joint stage
OK = "ok"
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a distribution's entry points. `status` is `ok`, or why it cannot be used.

    `loaded` is the class itself if a class was given, not a name.
    """

    kind: str
    name: str
    value: str
    distribution: str
    version: str
    status: str = OK
    loaded: type | None = None

    @property
    def origin(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".strip()


def entries() -> list[Entry]:
    """Every registered component of every distribution on the path.

    A distribution whose entry points cannot be read is one entry of kind `unknown`. Of two installations of the same
    distribution the first on the path counts, as it does for imports.
    """
    found: dict[str, list[Entry]] = {}
    for distribution in distributions():
        registered = list(_entries(distribution))
        if registered:
            name = registered[0].distribution
            key = str(_folder(distribution)) if name == UNKNOWN else canonicalize_name(name)
            found.setdefault(key, registered)
    return [entry for registered in found.values() for entry in registered]


def from_entry_point(point: EntryPoint, distribution: str = UNKNOWN, version: str = "") -> Entry:
    """The entry of one entry point; its status says so if it does not name an object in a module."""
    kind = next((kind for kind, group in GROUPS.items() if group == point.group), "unknown")
    entry = Entry(kind=kind, name=point.name, value=point.value, distribution=distribution, version=version)
    if kind == "unknown":
        return replace(entry, status=f"broken: {unknown('group of entry points', point.group, GROUPS.values())}")
    if not NAME.fullmatch(point.name):
        return replace(entry, status=f"broken: the name {point.name!r} is not of letters, digits and any of . _ -")
    if (kind, point.name) in RESERVED:
        return replace(entry, status=f"broken: the {kind} {point.name!r} is rilbench's own; register another name")
    if not re.fullmatch(r"[\w.]+(:[\w.]+)?", point.value):
        return replace(entry, status=f"broken: {point.value!r} is not of the form module:Class")
    return entry


def field(metadata: PackageMetadata, key: str) -> str:
    """A field of a distribution's metadata, or an empty text.

    A missing field is None, or raises KeyError once any library has imported the backport of this module.
    """
    return metadata[key] if key in metadata else ""  # noqa: SIM401  it has no `get` in Python 3.11


def _entries(distribution: Distribution) -> Iterator[Entry]:
    try:
        points = [point for point in distribution.entry_points if point.group.startswith("rilbench.")]
    except Exception as error:  # whatever the parser of a damaged file raises
        if _mentions_us(distribution):
            name, version = _identity(distribution)
            status = f"broken: its entry_points.txt cannot be read ({reason(error)})"
            yield Entry(kind="unknown", name="-", value="-", distribution=name, version=version, status=status)
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
