"""The points of a run at which plugins are called (pluggy, entry-point group `rilbench.hooks`).

A hook plugin is a class without constructor arguments, or a module, with functions marked `hookimpl`. A hook may take
any of the arguments below, by name. docs/reference/hooks.md has the plugins that use each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    from rilbench.contracts.progress import Picture, Progress
    from rilbench.contracts.result import RunResult

hookspec = pluggy.HookspecMarker("rilbench")
hookimpl = pluggy.HookimplMarker("rilbench")


class Hooks:
    """`folder` is the run's folder, with its configuration and results. A hook that raises is reported and skipped for
    the rest of the run; it cannot stop the training."""

    @hookspec
    def run_started(self, folder: Path, result: RunResult) -> None:
        """The plan is made; `config.yaml` and `environment.json` are in the folder, nothing is measured yet."""

    @hookspec
    def update_finished(self, folder: Path, result: RunResult, progress: Progress) -> None:
        """A stage has been trained for one more update; `result` has the rows before it.

        A resumed run repeats the updates since its last checkpoint. A stage that is in the store has no updates.
        """

    @hookspec
    def validated(self, folder: Path, result: RunResult, progress: Progress, pictures: Sequence[Picture]) -> None:
        """Images of the validation prompts are drawn and measured (`train.validate_every`); their files stay in the
        store.

        A resumed run repeats the validations since its last checkpoint.
        """

    @hookspec
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        """A row of the result is measured and stored; stage 0 is the untouched base model.

        A resumed run calls this again for its finished stages.
        """

    @hookspec
    def run_finished(self, folder: Path, result: RunResult) -> None:
        """All stages are measured; `result.json`, `table.md` and `samples.png` are written."""

    @hookspec
    def run_failed(self, folder: Path, result: RunResult, error: BaseException) -> None:
        """The run stopped early by an error, Ctrl-C or SIGTERM; the finished stages are in the store.

        If the run had been finished before and only its repetition failed, `result.status` is `finished`.
        """

    @hookspec
    def summary(self, folder: Path, result: RunResult) -> Mapping[str, str]:  # type: ignore[empty-body]
        """Returns lines to print under a finished result, name to text, such as where the result was sent."""

    @hookspec
    def study_finished(self, folder: Path, results: Sequence[RunResult]) -> Mapping[str, str]:  # type: ignore[empty-body]
        """A study is over; `folder` is the study's, `results` its finished runs. Returns lines as `summary` does."""

    @hookspec
    def find_runs(self, source: str) -> Sequence[RunResult]:  # type: ignore[empty-body]
        """Returns the runs at an address that is not a folder, such as a tracking server; None for an unknown address.

        Raise a RilbenchError with the reason if the address is known and cannot be read; users see its message.
        """


NAMES = tuple(name for name in vars(Hooks) if not name.startswith("_"))
