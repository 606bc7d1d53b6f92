"""The work of all cells as one graph: shared, finished and remaining work, and its estimated time."""

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
    """The work of some cells, each piece counted once.

    stages: distinct trained stages, of which the store has `stored`. shared: trainings saved by sharing stages.
    evaluations: of which `measured` are done. seconds: time of the remaining work, NaN if unknown.
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
    """The cells of a study, with the contents of the store when the graph was made.

    `seconds` estimates each piece of missing work: from similar work in the store, or from two timed forward passes of
    the model. `took` counts the pieces by the source of their estimate.
    """

    def __init__(self, cells: Sequence[Cell], *, probe: bool = True) -> None:
        """probe: time forward passes where the store has no timings; otherwise no model is loaded."""
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
        """From two timed forward passes of the cell's model; rewards and metrics are not included."""
        from rilbench.model.text_to_image import TextToImage
        from rilbench_study.probe import measure

        if cell.config.model not in self._costs:
            self._costs[cell.config.model] = measure(TextToImage.load(cell.config.model))
        return self._costs[cell.config.model]

    def counts(self, label: str | None = None) -> Counts:
        """The counts of one method, or of all; work shared by two methods counts for both."""
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
        """The ideal time: workers never wait for each other and do not slow each other down."""
        return self.counts().seconds / 60 / workers

    @property
    def how(self) -> str:
        """Where the estimate comes from."""
        if self.took[NOTHING]:
            return NOTHING
        if self.took[MEASURED] and self.took[PROBED]:
            return f"{self.took[MEASURED]} estimates {MEASURED}, {self.took[PROBED]} {PROBED}"
        return PROBED if self.took[PROBED] else MEASURED
