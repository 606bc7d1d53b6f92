"""What a check found, and one line about many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]
ORDER: tuple[Status, ...] = ("passed", "failed", "unexpected pass", "expected failure", "skipped")


@dataclass(frozen=True)
class CheckResult:
    """One check of one component. `reason` says what is wrong, why it was skipped, or why a failure is expected."""

    name: str
    status: Status
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done about it. An unexpected pass has to be struck from the expected failures."""
        return self.status not in ("failed", "unexpected pass")


def summary(results: Iterable[CheckResult]) -> str:
    """Such as `23 checks: 22 passed, 1 skipped`."""
    counts = Counter(result.status for result in results)
    total = sum(counts.values())
    parts = [f"{counts[status]} {status}" for status in ORDER if counts[status]]
    return f"{total} check{'' if total == 1 else 's'}: {', '.join(parts) or 'none'}"
