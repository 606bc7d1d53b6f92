"""What validations decide: the pair that a stage keeps, and when it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.errors import ConfigError

_TARGET = re.compile(r"(?P<metric>[^<>=]+)(?P<sign>>=|<=)(?P<value>[^<>=]+)")


@dataclass(frozen=True)
class Target:
    """A value of a validation metric at which a stage ends, such as `aesthetic>=6.5`."""

    text: str
    metric: str
    sign: int  # 1 for >=, -1 for <=
    value: float

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ConfigError for another form."""
        try:
            match = _TARGET.fullmatch(text.replace(" ", ""))
            return cls(text, match["metric"], 1 if match["sign"] == ">=" else -1, float(match["value"]))  # type: ignore[index]
        except (TypeError, ValueError):
            raise ConfigError(f"train.until: {text!r} is not METRIC>=NUMBER or METRIC<=NUMBER") from None

    def reached(self, values: Mapping[str, float]) -> bool:
        """Whether a validation's values reach it."""
        return self.metric in values and self.sign * (values[self.metric] - self.value) >= 0


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
        value, sign = values[self.metric], 1 if self.higher_is_better else -1
        if not self.update or sign * value > sign * self.value:
            self.update, self.value = update, value
            self.factors = [factor.detach().clone() for factor in factors]

    def put(self, factors: Sequence[Tensor]) -> None:
        """Write the best factors into these."""
        with torch.no_grad():
            for factor, best in zip(factors, self.factors, strict=bool(self.update)):
                factor.copy_(best)

    def state(self) -> dict[str, Any]:
        return {"update": self.update, "value": self.value, "factors": self.factors}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.update, self.value, self.factors = state["update"], state["value"], state["factors"]
