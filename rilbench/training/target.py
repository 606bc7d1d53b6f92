"""The target of a stage, a value of a validation metric at which it ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

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
