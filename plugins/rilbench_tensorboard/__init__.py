"""`tensorboard`: writes event files for TensorBoard to `tensorboard` in the run's folder. `tensorboard --logdir runs`
shows all runs of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.progress import Picture
from rilbench.contracts.result import RunResult
from rilbench.store.tables import markdown
from rilbench.tracking import TABLE, Cells, Tracker

FOLDER = "tensorboard"
LONGEST = 60  # characters of a prompt in a picture's name: TensorBoard has no captions


class TensorBoardTracker(Tracker):
    """The hook plugin."""

    name = library = "tensorboard"
    writer: Any

    def begin(self, folder: Path, result: RunResult, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what an interrupted attempt wrote after this step is written again
        again = max(self.sent.step, self.sent.validated) + 1 if self.sent.run else None
        self.writer = SummaryWriter(log_dir=str(folder / FOLDER), purge_step=again)
        if not self.sent.run:
            lines = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
            self.writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{lines}")
        self.sent.run = result.name

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self.writer.add_scalar(key, value, step)

    def pictures(self, section: str, pictures: Sequence[Picture], step: int) -> None:
        import numpy as np
        from PIL import Image

        for number, picture in enumerate(pictures, 1):
            with Image.open(picture.path) as image:
                pixels = np.asarray(image.convert("RGB"))
            name = f"{section}/{number} {picture.prompt[:LONGEST]}"
            self.writer.add_image(name, pixels, step, dataformats="HWC")

    def table(self, result: RunResult, columns: Sequence[str], rows: Cells, step: int) -> None:
        self.writer.add_text(TABLE, markdown(result), step)
        self.writer.flush()

    def end(self, *, failed: bool) -> None:
        self.writer.close()

    def where(self, folder: Path) -> str:
        return f"{folder / FOLDER}, for `tensorboard --logdir`"
