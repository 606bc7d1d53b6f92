"""What the comparisons saw, and the table of docs/evidence.md made of it, printed or put in place of the page's:

python tests/parity/parity_records.py docs/data/parity.jsonl
python tests/parity/parity_records.py docs/data/parity.jsonl docs/evidence.md
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

ORDER = ("hps", "aesthetic", "pickscore", "imagereward", "compressibility", "fid", "DDIM", "export")
HEAD = "| what | reference | figure | seen | bound | with a mistake |\n|---|---|---|---:|---:|---|\n"


@dataclass(frozen=True)
class Figure:
    """The largest difference seen, what it must stay below, and what it would be with a mistake named.

    reference: whose code was compared, with its version. mistakes: what the figure would be with each; none for a
    figure that only says where a difference comes from.
    """

    what: str
    reference: str
    quantity: str
    seen: float
    bound: float
    mistakes: dict[str, float] = field(default_factory=dict)

    @property
    def row(self) -> str:
        """A line of the table."""
        mistakes = ", ".join(f"{name} {value:.1e}" for name, value in self.mistakes.items())
        seen = f"{self.seen:.1e}" if self.seen else "0"
        cells = (self.what, self.reference, self.quantity, seen, f"{self.bound:.0e}", mistakes)
        return f"| {' | '.join(cells)} |\n"


class Figures:
    """Writes figures down, then asserts them."""

    def __init__(self, file: Path | None, record_property: Any) -> None:
        self._file: Path | None = file
        self._record_property: Callable[[str, object], None] = record_property

    def check(self, figure: Figure) -> None:
        """The figure is below its bound and all mistakes are above: a bound that lets them pass would prove nothing."""
        self._record_property(f"{figure.what} {figure.quantity}", figure.seen)
        if self._file:
            machine = {"torch": version("torch"), "machine": f"{platform.machine()} CPU, float32"}
            with self._file.open("a") as lines:
                lines.write(json.dumps(asdict(figure) | machine) + "\n")
        assert figure.seen < figure.bound
        assert all(value > figure.bound for value in figure.mistakes.values())


def table(file: Path) -> str:
    """The table of a file of figures; of one measured twice the last counts."""
    found: dict[tuple[str, str, str], Figure] = {}
    machines: dict[str, None] = {}
    for line in file.read_text().splitlines():
        values = json.loads(line)
        machines[f"{values.pop('machine')}, torch {values.pop('torch')}"] = None
        figure = Figure(**values)
        found[figure.what, figure.reference, figure.quantity] = figure
    rows = ""
    for what in ORDER:
        seen = [figure.row for figure in found.values() if figure.what == what]
        rows += "".join(seen) or f"| {what} |  | not run yet |  |  |  |\n"
    return HEAD + rows + f"\nSeen on: {'; '.join(machines)}.\n"


def put(table: str, page: Path) -> None:
    """Replace the table of a page."""
    text = page.read_text()
    start, end = text.index(HEAD), text.index("\n", text.index("\nSeen on: ") + 1) + 1
    page.write_text(text[:start] + table + text[end:])


if __name__ == "__main__":
    made = table(Path(sys.argv[1]))
    if len(sys.argv) > 2:
        put(made, Path(sys.argv[2]))
    else:
        print(made, end="")
