"""What a check is: a named demand on a component, and the demands that must be met before it says anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rilbench.testing.subject import Subject

Demand = Callable[[Any], None]
NotFor = Callable[[Subject[Any]], str | None]


class Fault(AssertionError):
    """A component does not meet a demand; the message is one sentence with the figure found."""


class Skip(Exception):
    """A demand does not apply to a component; the message says why."""


def _for_all(subject: Subject[Any]) -> str | None:
    return None


@dataclass(frozen=True, eq=False)
class Check:
    """A demand that can be called with a subject: it returns, or raises Fault, Skip or what the component raises.

    needs: checks that must not fail before. A component that breaks one of them is told so once, not twenty times.
    not_for: gives the reason why a component is not asked, or None.
    """

    demand: Demand
    needs: tuple[Check, ...] = ()
    not_for: NotFor = _for_all

    @property
    def name(self) -> str:
        """What results call it."""
        return str(self.demand.__name__)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def says(self) -> str:
        """What is demanded and why."""
        return self.demand.__doc__ or ""

    def __call__(self, subject: Subject[Any]) -> None:
        if reason := self.not_for(subject):
            raise Skip(reason)
        self.demand(subject)


def check(*needs: Check, not_for: NotFor = _for_all) -> Callable[[Demand], Check]:
    """Make a check of a function that takes a subject."""
    return lambda demand: Check(demand, needs, not_for)


def require(met: bool, fault: str) -> None:
    """Fault unless met."""
    if not met:
        raise Fault(fault)
