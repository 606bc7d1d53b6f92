"""The work of all cells as one graph: what they share, what is done, what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rilbench_study.cells import Cell
from rilbench_study.cost import Estimates
from rilbench_study.timings import MEASURED, NOTHING, PROBED


@dataclass(frozen=True)
class Counts:
    """What some cells need, each piece of work counted once.

    stages: to be trained, of which `stored` are. shared: how many trainings that saves. evaluations: of which
    `measured` are done. seconds: the time of what is left, NaN where it is not known.
    """

    runs: int
    finished: int
    stages: int
    shared: int
    stored: int
    evaluations: int
    measured: int
    seconds: float


class Graph:
    """The cells of a study with what the store had when the graph was made."""

    def __init__(self, cells: Sequence[Cell], *, probe: bool = True) -> None:
        """probe: whether work that the store has no times of is estimated from timed forwards."""
        self.cells = cells
        self.results = {cell.name: result for cell in cells if (result := cell.result())}
        every = {work.key: (cell, work) for cell in cells for work in cell.work}
        finished = {work.key for cell in cells if cell.name in self.results for work in cell.work}
        self.done = {key for key, (cell, work) in every.items() if key in finished or cell.done(work)}
        left = {key: pair for key, pair in every.items() if key not in self.done}
        self.estimates = Estimates(cells[0].store, probe=probe)
        self.seconds = {key: self.estimates.seconds(*pair) for key, pair in left.items()}

    def counts(self, label: str | None = None) -> Counts:
        """Of one method or of all; what two methods share is counted with both."""
        cells = [cell for cell in self.cells if label in (None, cell.config.label)]
        trained = [work.key for cell in cells for work in cell.work if work.training]
        measured = {work.key for cell in cells for work in cell.work if not work.training}
        stages = set(trained)
        return Counts(
            runs=len(cells),
            finished=sum(cell.name in self.results for cell in cells),
            stages=len(stages),
            shared=len(trained) - len(stages),
            stored=len(stages & self.done),
            evaluations=len(measured),
            measured=len(measured & self.done),
            seconds=sum(self.seconds.get(key, 0.0) for key in stages | measured),
        )

    def to_json(self, workers: int) -> dict[str, Any]:
        """The plan for scripts."""
        labels = dict.fromkeys(cell.config.label for cell in self.cells)
        return {
            "orders": [list(order) for order in self.orders],
            "total": asdict(self.counts()),
            "methods": {label: asdict(self.counts(label)) for label in labels},
            "workers": workers,
            "minutes": self.minutes(workers),
            "how": self.how,
        }

    @property
    def orders(self) -> list[tuple[str, ...]]:
        """The sequences of rewards, each once."""
        return list(dict.fromkeys(tuple(cell.config.rewards) for cell in self.cells))

    def minutes(self, workers: int) -> float:
        """At best, when the workers never wait for each other and do not slow each other down."""
        return self.counts().seconds / 60 / workers

    @property
    def how(self) -> str:
        """Where the estimate comes from."""
        if self.estimates.unknown:
            return NOTHING
        if not self.estimates.probed:
            return MEASURED
        if not self.estimates.measured:
            return PROBED
        return f"{self.estimates.measured} pieces of work {MEASURED}, {self.estimates.probed} {PROBED}"
