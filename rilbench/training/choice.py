"""The pair that a stage keeps: the one with the best value of a validation metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Best:
    """The factors with the best value of a validation metric so far; the first of equal ones."""

    metric: str
    higher_is_better: bool
    update: int = 0  # 0: there are none yet
    value: float = 0.0
    factors: list[Tensor] = field(default_factory=list)

    def see(self, update: int, values: Mapping[str, float], factors: Sequence[Tensor]) -> None:
        """Take the factors of an update if its value is better."""
        value = values[self.metric]
        if not self.update or self._score(value) > self._score(self.value):
            self.update, self.value = update, value
            self.factors = [factor.detach().clone() for factor in factors]

    def _score(self, value: float) -> float:
        """Higher is better; a value that is not finite is worse than any other."""
        return (value if self.higher_is_better else -value) if math.isfinite(value) else -math.inf

    def put(self, factors: Sequence[Tensor]) -> None:
        """Write the best factors into these."""
        with torch.no_grad():
            for factor, best in zip(factors, self.factors, strict=bool(self.update)):
                factor.copy_(best)

    def state(self) -> dict[str, Any]:
        return {"update": self.update, "value": self.value, "factors": self.factors}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.update, self.value, self.factors = state["update"], state["value"], state["factors"]
