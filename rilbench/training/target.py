"""The target of a stage, a value of a validation metric at which it ends."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rilbench.contracts.errors import ConfigError

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_TARGET = re.compile(rf"\s*(?P<metric>[^<>=]+?)\s*(?P<sign>>=|<=)\s*(?P<value>{_NUMBER})\s*", re.IGNORECASE)


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
        match = _TARGET.fullmatch(text)
        if not match or not math.isfinite(value := float(match["value"])):
            raise ConfigError(f"train.until: {text!r} is not METRIC>=NUMBER or METRIC<=NUMBER")
        return cls(text, match["metric"], 1 if match["sign"] == ">=" else -1, value)

    def reached(self, values: Mapping[str, float]) -> bool:
        """Whether a validation's values reach it."""
        return self.metric in values and self.sign * (values[self.metric] - self.value) >= 0
