"""The plugins a configuration requires, checked before any work."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement

from rilbench.contracts.errors import ConfigError, PluginError


def check(requires: Iterable[str]) -> None:
    """Raises PluginError with everything in `requires` that is missing or too old, such as "rilbench-warmth>=0.1", and
    the remedy.

    Raises ConfigError for text that is not a requirement (PEP 508).
    """
    wanted = [_parsed(text) for text in requires]
    faults = {str(r): fault for r in wanted if (fault := _fault(r))}
    if faults:
        remedy = shlex.join(["pip", "install", *faults])
        raise PluginError(f"requires: {'; '.join(faults.values())}. Install with: {remedy}")


def _parsed(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"requires: {text!r} is not a requirement such as 'rilbench-warmth>=0.1' ({why})") from None


def _fault(requirement: Requirement) -> str | None:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return None
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement} is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{requirement} is required, {installed} is installed"
