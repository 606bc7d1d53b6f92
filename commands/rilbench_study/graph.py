"""The work of all cells as one graph: what they share, what is done, what is left and how long that takes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rilbench.files.prompts import evaluation_prompts
from rilbench_study.cells import Cell, Work
from rilbench_study.timings import MEASURED, NOTHING, PROBED, Timings

if TYPE_CHECKING:
    from rilbench_study.probe import Cost


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
    """The cells of a study with what the store had when the graph was made.

    `seconds` is how long each piece of missing work takes: as long as the like that is in the store, or what two timed
    forwards of the model say. `took` counts the pieces by where their time comes from.
    """

    def __init__(self, cells: Sequence[Cell], *, probe: bool = True) -> None:
        """probe: whether work that the store has no times of is timed; otherwise no model is loaded."""
        self.cells = cells
        self.results = {cell.name: result for cell in cells if (result := cell.result())}
        every = {work.key: (cell, work) for cell in cells for work in cell.work}
        finished = {work.key for cell in cells if cell.name in self.results for work in cell.work}
        self.done = {key for key, (cell, work) in every.items() if key in finished or cell.done(work)}
        self.took: Counter[str] = Counter()
        self._timings, self._probe = Timings(cells[0].store), probe
        self._costs: dict[Any, Cost] = {}
        self.seconds = {key: self._seconds(*pair) for key, pair in every.items() if key not in self.done}

    def _seconds(self, cell: Cell, work: Work) -> float:
        images = len(evaluation_prompts(cell.config.evaluate.prompts)) * cell.config.evaluate.images_per_prompt
        if work.training:
            known = self._timings.training(work.planned.document)
        else:
            known = self._timings.evaluation(cell.evaluation, images)
        if known is not None:
            self.took[MEASURED] += 1
            return known
        if not self._probe:
            self.took[NOTHING] += 1
            return math.nan
        self.took[PROBED] += 1
        cost, train, steps = self._cost(cell), work.planned.train, cell.config.model.steps
        if work.training and train is not None:
            return cost.training(train.samples, steps, train.last_steps)
        return cost.sampling(images, steps)

    def _cost(self, cell: Cell) -> Cost:
        """From two timed forwards of the cell's model; rewards and metrics are left out."""
        from rilbench.model.text_to_image import TextToImage
        from rilbench_study.probe import measure

        if cell.config.model not in self._costs:
            self._costs[cell.config.model] = measure(TextToImage.load(cell.config.model))
        return self._costs[cell.config.model]

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
        return {
            "orders": [list(order) for order in self.orders],
            "total": asdict(self.counts()),
            "methods": {label: asdict(self.counts(label)) for label in self.labels},
            "workers": workers,
            "minutes": self.minutes(workers),
            "how": self.how,
        }

    @property
    def labels(self) -> list[str]:
        """The methods, each once."""
        return list(dict.fromkeys(cell.config.label for cell in self.cells))

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
        if self.took[NOTHING]:
            return NOTHING
        if self.took[MEASURED] and self.took[PROBED]:
            return f"{self.took[MEASURED]} pieces of work {MEASURED}, {self.took[PROBED]} {PROBED}"
        return PROBED if self.took[PROBED] else MEASURED
