"""The moments of a run that plugins can take part in (pluggy, entry-point group `rilbench.hooks`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from rilbench.result import RunResult

hookspec = pluggy.HookspecMarker("rilbench")
hookimpl = pluggy.HookimplMarker("rilbench")


class Hooks:
    """Every hook gets the run's folder, where configuration and finished results lie. A hook that raises is reported
    and left out for the rest of the run; it cannot stop the training."""

    @hookspec
    def run_started(self, folder: Path, result: RunResult) -> None:
        """The plan is made, the configuration is written, nothing is measured yet."""

    @hookspec
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        """A row of the result is measured and stored; stage 0 is the untouched base model."""

    @hookspec
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """All stages are measured and `result.json` is written."""

    @hookspec
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """The run stopped early; the finished stages are in the store."""
