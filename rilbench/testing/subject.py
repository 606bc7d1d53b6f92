"""The component under test, with the settings to make instances of it and what the checks have found so far."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from rilbench.contracts import settings
from rilbench.contracts.components import Component
from rilbench.engine.secret_settings import resolved
from rilbench.testing import inputs
from rilbench.testing.report import CheckResult

C = TypeVar("C", bound=Component)


class Subject(Generic[C]):
    """One component class under test."""

    def __init__(
        self,
        component: type[C],
        values: Mapping[str, Any],
        *,
        device: str,
        image_size: int,
        prompts: Sequence[str] | None = None,
    ) -> None:
        self.component, self.values = component, dict(values)
        self.prompts = tuple(prompts or inputs.PROMPTS)
        # the same ones handed on by half their number, so that every image has another
        half = len(self.prompts) // 2
        self.other_prompts = self.prompts[half:] + self.prompts[:half] if prompts else inputs.OTHER_PROMPTS
        self.device, self.image_size = device, image_size
        self.results: dict[Hashable, CheckResult] = {}  # of every check asked so far

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

    @property
    def exact(self) -> bool:
        """Whether the same work must give the same bits; some kernels of other devices differ from call to call."""
        return self.device == "cpu"
