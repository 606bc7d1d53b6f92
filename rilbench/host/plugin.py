"""One registered component: where it comes from, whether it can be used, and its import."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import EntryPoint
from typing import Any

from rilbench.contracts.errors import PluginError

OWN = "rilbench"  # the distribution that an allow-list always contains
BY_HAND = "--plugin"  # what the distribution of a component is called that is not installed
UNKNOWN = "unknown"  # what metadata do not say: the kind, the distribution or its version


class Status(StrEnum):
    """What is known of a component before it is imported."""

    OK = "ok"
    OFF = "off"  # the user switched it off
    BROKEN = "broken"
    CONFLICT = "conflict"  # several claim the name


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """`value` is `module:attribute`, `why` the reason of a status other than OK.

    `loaded` is the class itself if a class was given, not a name.
    """

    kind: str
    name: str
    value: str
    distribution: str
    version: str
    status: Status = Status.OK
    why: str = ""
    loaded: type | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.origin} ({self.value})"

    @property
    def origin(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def state(self) -> str:
        """The status and its reason."""
        return f"{self.status}: {self.why}" if self.why else self.status

    @property
    def refusal(self) -> str:
        """Why it cannot be used, if that is known before the import."""
        who = f"{self.kind} {self.name!r}" if self.status == Status.CONFLICT else str(self)
        return f"{who} cannot be used: {self.state}"

    def marked(self, status: Status, why: str) -> Plugin:
        """The same with another status."""
        return replace(self, status=status, why=why)

    def load(self) -> Any:
        """The component itself. Raises PluginError naming its distribution, caused by the plugin's own error."""
        from rilbench.host import contract_check
        from rilbench.host.guard import made

        if self.status != Status.OK:
            raise PluginError(self.refusal)
        loaded = self.loaded or imported(self.value, str(self))
        with made(str(self), "cannot be checked"):
            fault = contract_check.fault(self.kind, loaded)
        if fault:
            raise PluginError(f"{self} {fault}")
        return loaded


def imported(value: str, who: str) -> Any:
    """The object `module:attribute`; what it prints goes to stderr, and what it changes of the process is undone.

    Raises PluginError, which names `who`, if it cannot be imported.
    """
    from rilbench.host.guard import made
    from rilbench.host.import_threads import noted

    with noted(who), made(who, "cannot be imported"):
        return EntryPoint("", value, "").load()
