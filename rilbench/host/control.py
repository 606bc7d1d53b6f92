"""Which installed plugins are active: two lists in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from packaging.utils import canonicalize_name

from rilbench.host.discovery import OK, Entry

ALLOW, DISABLE, STRICT = "RILBENCH_PLUGINS", "RILBENCH_DISABLE_PLUGINS", "RILBENCH_STRICT_PLUGINS"
BY_HAND = "--plugin"  # what the distribution of a component is called that is not installed
OWN = "rilbench"  # the distribution that an allow-list always contains


def strict() -> bool:
    """True if any broken plugin is an error."""
    return os.environ.get(STRICT, "").lower() not in ("", "0", "false", "no")


def controlled(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with those that are off marked.

    Both lists hold names of components (`warmth` or `reward/warmth`), of distributions, or both (`acme:warmth`),
    separated by commas. If RILBENCH_PLUGINS is set, even to an empty text, every plugin it does not name is off, except
    those of rilbench.
    """
    allowed, disabled = _listed(ALLOW), _listed(DISABLE) or ()
    return [_controlled(entry, allowed, disabled) for entry in entries]


def not_installed(entries: Sequence[Entry]) -> list[str]:
    """One line for each listed name that is not installed; it is probably misspelt."""
    known = {name for entry in entries for name in _names(entry)}
    return [
        f"{variable} names {name!r}, which is not installed"
        for variable in (ALLOW, DISABLE)
        for name in _listed(variable) or ()
        if not {name, _with_normalised(name)} & known
    ]


def _controlled(entry: Entry, allowed: Sequence[str] | None, disabled: Sequence[str]) -> Entry:
    if _meant(entry, disabled):
        return replace(entry, status=f"off: by {DISABLE}")
    if allowed is not None and entry.distribution != OWN and not _meant(entry, allowed):
        return replace(entry, status=f"off: not in {ALLOW}")
    return entry


def _meant(entry: Entry, listed: Sequence[str]) -> bool:
    return any(_names(entry) & {text, _with_normalised(text)} for text in listed)


def _with_normalised(text: str) -> str:
    """A listed name, its distribution as pip compares it."""
    distribution, colon, name = text.partition(":")
    return f"{canonicalize_name(distribution)}{colon}{name}"


def _names(entry: Entry) -> set[str]:
    distribution = canonicalize_name(entry.distribution)
    return {entry.name, f"{entry.kind}/{entry.name}", distribution, f"{distribution}:{entry.name}"}


def _listed(variable: str) -> list[str] | None:
    text = os.environ.get(variable)
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def off(entry: Entry) -> bool:
    """True if the user switched the entry off."""
    return entry.status.startswith("off:")


def usable(entry: Entry) -> bool:
    """True if nothing known before the import prevents using the entry."""
    return entry.status == OK
