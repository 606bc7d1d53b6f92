"""How a metric is called and scaled in MLflow, whose names allow letters, digits and `_-./` with spaces only, and whose
charts show two digits after the point."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from rilbench.contracts.result import MetricInfo, RunResult

LOWER, HIGHER = "lower is better", "higher is better"
START = "start"  # the section of the base model's values; MLflow sorts sections, and these stand behind `final`
LARGEST = 10**9  # factor


@dataclass(frozen=True)
class Shown:
    """A metric's name with its factor, unit and direction, such as `hps x100 - higher is better`."""

    info: MetricInfo
    factor: int

    def key(self, section: str) -> str:
        """The name in a section; forgetting is better when it is low, whatever the metric."""
        better = HIGHER if self.info.higher_is_better and "forgetting" not in section else LOWER
        parts = [self.info.name, f"x{self.factor}" if self.factor > 1 else "", unit(self.info)]
        return clean(f"{section}/{' '.join(filter(None, parts))} - {better}")

    def of(self, value: float) -> float:
        """The value that is logged, without the last digits that the factor adds; exact ones are in `result.json`."""
        return value if self.factor == 1 else float(f"{value * self.factor:.10g}")


def shown_as(result: RunResult) -> dict[str, Shown]:
    """Of every metric of a run. The factor follows from the base model's value, which runs to be compared share."""
    base = result.matrix.rows[0].values if result.matrix.rows else {}
    return {info.name: Shown(info, factor(base.get(info.name, 0.0))) for info in result.matrix.metrics}


def factor(base: float) -> int:
    """1 for values above 1; else the least power of ten that makes the base more than 10, so that four digits show."""
    if not isfinite(base) or base == 0 or abs(base) > 1:
        return 1
    power = 1
    while abs(base) * power <= 10 and power < LARGEST:
        power *= 10
    return power


def unit(info: MetricInfo) -> str:
    """In MLflow's letters."""
    return info.unit.replace("%", "percent").replace("/", " per ")


def all_shown(results: Iterable[RunResult]) -> list[Shown]:
    """The metrics of several runs, in order, each once a name."""
    return list(dict.fromkeys(shown for result in results for shown in shown_as(result).values()))


def clean(key: str) -> str:
    """A name as MLflow allows it: other characters become underscores."""
    return re.sub(r"[^\w./ -]", "_", key)
