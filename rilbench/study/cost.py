"""What the missing work of a study will cost: as long as the like took that is in the store, or two timed forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rilbench.past import Past
from rilbench.prompts import read_prompts
from rilbench.study.cells import Cell, Work


class Estimates:
    """Seconds of work. `measured` says whether all of them come from the store."""

    def __init__(self, store: Path) -> None:
        self.measured = True
        self._past = Past(store)
        self._probes: dict[Any, Any] = {}

    def seconds(self, cell: Cell, work: Work) -> float:
        """How long a piece of a cell's work takes."""
        past = self._past
        known = past.training(work.planned.document) if work.training else past.evaluation(cell.evaluation)
        return self._probed(cell, work) if known is None else known

    def _probed(self, cell: Cell, work: Work) -> float:
        """From two timed forwards of the cell's model; rewards and metrics are left out."""
        from rilbench.model.text_to_image import TextToImage
        from rilbench.training.cost import measure

        self.measured = False
        model, steps = cell.config.model, cell.config.model.steps
        if model not in self._probes:
            self._probes[model] = measure(TextToImage.load(model))
        cost, train = self._probes[model], work.planned.train
        if work.training and train is not None:
            return float(cost.training(train.samples, steps, train.last_steps))
        images = len(read_prompts(cell.config.evaluate.prompts)) * cell.config.evaluate.images_per_prompt
        return float(cost.sampling(images, steps))
