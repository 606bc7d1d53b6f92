"""What of a planned run the store has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rilbench.engine.plan import PlannedStage
from rilbench.model.files import has_pair
from rilbench.store.layout import Store


class Stored(NamedTuple):
    """Whether a stage is trained, if it is to be trained at all, and whether it is measured."""

    trained: bool
    evaluated: bool


def stored(planned: PlannedStage, store: str, evaluation: str) -> Stored:
    """Of a stage; `evaluation` is the identity of what is measured."""
    files = Store(Path(store)).stage(planned.id)
    trained = planned.train is None or has_pair(files.folder)
    return Stored(trained, files.evaluation(evaluation).numbers.exists())
