"""What the missing work of a study will cost: as long as the like took that is in the store, or two timed forwards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rilbench.files.prompts import evaluation_prompts
from rilbench_study.cells import Cell, Work
from rilbench_study.timings import Timings


class Estimates:
    """Seconds of work. `measured` and `probed` count where they come from: the store, timed forwards.

    Without `probe` no model is loaded: what the store has nothing like is NaN, and counted in `unknown`.
    """

    def __init__(self, store: Path, *, probe: bool = True) -> None:
        self.measured = self.probed = self.unknown = 0
        self._probe = probe
        self._timings = Timings(store)
        self._probes: dict[Any, Any] = {}

    def seconds(self, cell: Cell, work: Work) -> float:
        """How long a piece of a cell's work takes."""
        timings = self._timings
        known = (
            timings.training(work.planned.document)
            if work.training
            else timings.evaluation(cell.evaluation, _images(cell))
        )
        if known is None and not self._probe:
            self.unknown += 1
            return math.nan
        if known is None:
            self.probed += 1
            return self._probed(cell, work)
        self.measured += 1
        return known

    def _probed(self, cell: Cell, work: Work) -> float:
        """From two timed forwards of the cell's model; rewards and metrics are left out."""
        from rilbench.model.text_to_image import TextToImage
        from rilbench_study.probe import measure

        model, steps = cell.config.model, cell.config.model.steps
        if model not in self._probes:
            self._probes[model] = measure(TextToImage.load(model))
        cost, train = self._probes[model], work.planned.train
        if work.training and train is not None:
            return float(cost.training(train.samples, steps, train.last_steps))
        return float(cost.sampling(_images(cell), steps))


def _images(cell: Cell) -> int:
    """How many images an evaluation generates."""
    return len(evaluation_prompts(cell.config.evaluate.prompts)) * cell.config.evaluate.images_per_prompt
