"""`wandb`: sends runs to Weights & Biases. `WANDB_PROJECT` names the project, `WANDB_MODE=offline` writes to the run's
folder only, for `wandb sync` later; all other variables of wandb apply too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.progress import Picture
from rilbench.contracts.result import RunResult
from rilbench.tracking import TABLE, Cells, Tracker

STEP = "step"  # the axis of all curves


class WandbTracker(Tracker):
    """The hook plugin."""

    name = library = "wandb"
    run: Any = None

    def begin(self, folder: Path, result: RunResult, settings: Mapping[str, Any]) -> None:
        import wandb  # takes seconds

        self.sent.run = self.sent.run or secrets.token_hex(8)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rilbench"),
            id=self.sent.run,
            name=result.name,
            group=result.label,
            dir=str(folder),
            config=dict(settings),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        self.run.define_metric("*", step_metric=STEP)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, STEP: step})

    def pictures(self, section: str, pictures: Sequence[Picture], step: int) -> None:
        import wandb

        images = [wandb.Image(str(picture.path), caption=picture.prompt) for picture in pictures]
        self.run.log({f"{section}/images": images, STEP: step})

    def table(self, result: RunResult, columns: Sequence[str], rows: Cells, step: int) -> None:
        import wandb

        self.run.log({TABLE: wandb.Table(columns=list(columns), data=[list(row) for row in rows]), STEP: step})

    def end(self, *, failed: bool) -> None:
        self.run.finish(exit_code=int(failed))

    def where(self, folder: Path) -> str:
        local = self.run is None or self.run.offline
        return f"{folder / 'wandb'}, for `wandb sync`" if local else str(self.run.url)
