"""`trackio`: logs runs to Trackio, a tracker without a server; `trackio show --project rilbench` opens them.

`TRACKIO_PROJECT` names the project, `TRACKIO_DIR` the folder of its database, `TRACKIO_SPACE_ID` a Space of the Hub.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.progress import Picture
from rilbench.contracts.result import RunResult
from rilbench.tracking import TABLE, Cells, Tracker


def project() -> str:
    """The name of the project."""
    return os.environ.get("TRACKIO_PROJECT", "rilbench")


class TrackioTracker(Tracker):
    """The hook plugin."""

    name = library = "trackio"
    run: Any

    def begin(self, folder: Path, result: RunResult, settings: Mapping[str, Any]) -> None:
        import trackio  # takes seconds

        self.sent.run = result.name
        self.run = trackio.init(
            project=project(),
            name=result.name,
            group=result.label,
            space_id=os.environ.get("TRACKIO_SPACE_ID"),
            config=dict(settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        if values:
            self.run.log(dict(values), step=step)

    def pictures(self, section: str, pictures: Sequence[Picture], step: int) -> None:
        import trackio

        for number, picture in enumerate(pictures, 1):
            self.run.log({f"{section}/{number}": trackio.Image(picture.path, caption=picture.prompt)}, step=step)

    def table(self, result: RunResult, columns: Sequence[str], rows: Cells, step: int) -> None:
        import trackio

        self.run.log({TABLE: trackio.Table(columns=list(columns), data=[list(row) for row in rows])}, step=step)

    def end(self, *, failed: bool) -> None:
        self.run.finish()

    def where(self, folder: Path) -> str:
        return f"`trackio show --project {project()}`"
