"""A check, which is a named demand on a component, and its subject, the component under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from rilbench.contracts import settings
from rilbench.contracts.components import Component
from rilbench.contracts.errors import ConfigError
from rilbench.engine.secret_settings import resolved
from rilbench.testing.inputs import PROMPTS, images
from rilbench.testing.report import CheckResult

C = TypeVar("C", bound=Component)
Demand = Callable[[Any], None]
NotFor = Callable[["Subject[Any]"], str | None]


class Fault(AssertionError):
    """A component does not meet a demand; the message is one sentence with the figure found."""


@dataclass(frozen=True, eq=False)
class Check:
    """A demand on a subject: it returns, or raises Fault or what the component raises.

    says: what is demanded and why.
    needs: checks that must not fail before. A component that breaks one of them gets one failure, not twenty.
    not_for: returns the reason why the check does not apply to a component, or None.
    """

    name: str
    says: str
    demand: Demand
    needs: tuple[Check, ...]
    not_for: NotFor


def check(*needs: Check, not_for: NotFor = lambda subject: None) -> Callable[[Demand], Check]:
    """Make a check of a function that takes a subject."""
    return lambda demand: Check(demand.__name__, demand.__doc__ or "", demand, needs, not_for)


def unless(attribute: str, value: object) -> NotFor:
    """The reason why a check does not apply to a class that declares another value."""

    def reason(subject: Subject[Any]) -> str | None:
        declared = getattr(subject.component, attribute)
        return None if declared == value else f"it declares {attribute} = {declared}"

    return reason


def checks_of(module: ModuleType) -> list[Check]:
    """The checks that a module defines, in its order."""
    found = [thing for thing in vars(module).values() if isinstance(thing, Check)]
    return [check for check in found if check.demand.__module__ == module.__name__]


def require(met: bool, fault: str) -> None:
    """Fault unless met."""
    if not met:
        raise Fault(fault)


def require_none(faults: Sequence[str], fault: str) -> None:
    """Fault if there are faults; the message starts with their number and ends with the first as an example."""
    if faults:
        raise Fault(f"{fault.format(len(faults))}, such as {faults[0]}")


@dataclass(eq=False)
class Subject(Generic[C]):
    """The component class under test, the settings to make instances of it, and what the checks have found so far."""

    component: type[C]
    values: Mapping[str, Any]
    device: str = "cpu"
    image_size: int = 64
    prompts: Sequence[str] = PROMPTS
    results: dict[Check, CheckResult] = field(default_factory=dict)  # of every check asked so far

    def __post_init__(self) -> None:
        if len(set(self.prompts)) < len(PROMPTS):
            raise ConfigError(f"prompts: {len(set(self.prompts))} different ones; the checks need {len(PROMPTS)}")

    @property
    def exact(self) -> bool:
        """Whether the same work gives the same bits; some kernels of other devices vary."""
        return self.device == "cpu"

    @property
    def settings(self) -> Any:
        """The validated settings, made as the engine makes them."""
        return settings.build(self.component.Settings, self.values, "settings")

    @cached_property
    def instance(self) -> C:
        """One instance that the checks share, because weights can be large."""
        return self.fresh()

    def fresh(self) -> C:
        """Another instance of the same settings."""
        return self.component(resolved(self.settings, "settings"), device=self.device)

    def pictures(self, n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
        """Test images (n, 3, S, S) on the device."""
        return images(n, self.image_size, seed=seed, device=self.device, dtype=dtype)
