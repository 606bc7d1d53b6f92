"""The result of a check, and a one-line summary of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class CheckResult:
    """One check of one component. `reason` says what is wrong, or why it was skipped."""

    name: str
    status: Status
    reason: str = ""

    @property
    def ok(self) -> bool:
        """False if the check failed."""
        return self.status != "failed"


def summary(results: Iterable[CheckResult]) -> str:
    """Such as `23 checks: 22 passed, 1 skipped`."""
    counts = Counter(result.status for result in results)
    total = sum(counts.values())
    parts = [f"{counts[status]} {status}" for status in get_args(Status) if counts[status]]
    return f"{total} check{'' if total == 1 else 's'}: {', '.join(parts) or 'none'}"
