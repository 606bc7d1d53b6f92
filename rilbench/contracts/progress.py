"""A moment of a stage's training, as hook plugins see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a stage has trained so far.

    stage: its row in the result, as in `stage_finished`.
    update, updates: updates of the stage that are done, and how many it has at most.
    step: updates of all stages of the run so far, those of stages in the store included. It is an axis that all stages
        share, and a resumed run continues it.
    values: for `update_finished` what the stage logs (`loss`, `loss/TERM`, `reward`, `gradient` ...), `lr`,
        `images_per_second`, `seconds_left` of the stage's training, and `memory_gb`: the most that tensors on the GPU
        have taken, or what the process takes. For `validated` the mean of every validation metric, by its name.
    """

    stage: int
    label: str
    update: int
    updates: int
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG file with its prompt."""

    prompt: str
    path: Path
