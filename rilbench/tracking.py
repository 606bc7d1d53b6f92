"""For plugins: what trackers have in common. `Tracker` decides what is sent and when; a subclass says how.

Curves of all stages have one axis, the updates of the run so far. A tracker remembers in the run's folder what it sent,
so a resumed or repeated run sends nothing twice, except updates since the last validation or stage.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from rilbench.contracts.errors import ConfigError, RilbenchError
from rilbench.contracts.hooks import hookimpl
from rilbench.contracts.progress import Picture, Progress
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench.contracts.untrusted import inside
from rilbench.contracts.yaml_text import parse
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import stage_record
from rilbench.store.files import read_json, read_text, write_json
from rilbench.store.layout import RunFiles

TRAINING, VALIDATION, EVALUATION, FORGETTING = "train", "validate", "eval", "forgetting"  # before the / of a name
TABLE = "result"
Cells = Sequence[Sequence[str | float | None]]  # None: not measured


@dataclass
class Sent:
    """What a tracker has of a run. `run` is the tracker's name of it."""

    run: str = ""
    step: int = 0  # the last update
    validated: int = 0  # the last validation
    rows: int = 0
    finished: bool = False


class Tracker(ABC):
    """A hook plugin that is used if the setting `trackers` names it. Values are finite; pictures are PNG files."""

    optional: ClassVar[bool] = True
    name: ClassVar[str]
    library: ClassVar[str]  # what it imports, and the extra of rilbench that installs it

    def __init__(self) -> None:
        if find_spec(self.library) is None:
            raise ConfigError(f"trackers: {self.library} is not installed; pip install 'rilbench[{self.library}]'")
        self.sent = Sent()
        self.open = False

    @abstractmethod
    def begin(self, folder: Path, result: RunResult, settings: Mapping[str, Any]) -> None:
        """Begin the run, or continue it if `self.sent.run` is set; set it. settings: dotted keys to values."""

    @abstractmethod
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves; a name's part before the / is its section."""

    @abstractmethod
    def pictures(self, section: str, pictures: Sequence[Picture], step: int) -> None:
        """Pictures with their prompts."""

    @abstractmethod
    def table(self, result: RunResult, columns: Sequence[str], rows: Cells, step: int) -> None:
        """The result so far: a row per stage, a column per metric, with its label first."""

    @abstractmethod
    def end(self, *, failed: bool) -> None:
        """Close the run."""

    @abstractmethod
    def where(self, folder: Path) -> str:
        """Where to look at the run."""

    @hookimpl
    def run_started(self, folder: Path, result: RunResult) -> None:
        """Begin or continue, unless everything was sent."""
        self.sent, self.open = Sent(), False
        with suppress(RilbenchError, TypeError):
            self.sent = Sent(**read_json(self._file(folder)))
        if not self.sent.finished:
            self.begin(folder, result, _settings(folder))
            self.open = True
            self._remember(folder)

    @hookimpl
    def update_finished(self, progress: Progress) -> None:
        """Send what an update logs."""
        if self.open and progress.step > self.sent.step:
            self._scalars(TRAINING, progress.values, progress.step)
            self.sent.step = progress.step

    @hookimpl
    def validated(self, folder: Path, progress: Progress, pictures: Sequence[Picture]) -> None:
        """Send the numbers and images of a validation."""
        if self.open and progress.step > self.sent.validated:
            self._scalars(VALIDATION, progress.values, progress.step)
            self.pictures(VALIDATION, pictures, progress.step)
            self.sent.validated = progress.step
            self._remember(folder)

    @hookimpl
    def stage_finished(self, folder: Path, result: RunResult, stage: int) -> None:
        """Send a row with its images, and its curves if they were not heard, as those of a stage in the store."""
        if not self.open or stage < self.sent.rows:
            return
        store, row = RunFiles(folder).store, result.matrix.rows[stage]
        before = stage_record.steps(store.stage(each.stage_id).folder for each in result.matrix.rows[:stage])
        files = store.stage(row.stage_id)
        log = stage_record.read(files.folder)["log"] if files.record.exists() else []
        for entry in log:
            step = before + int(entry.pop("update"))
            if step > self.sent.step:
                self._scalars(TRAINING, {k: v for k, v in entry.items() if not k.startswith(VALIDATION)}, step)
                self._scalars("", {k: v for k, v in entry.items() if k.startswith(VALIDATION)}, step)
        self.sent.step = max(self.sent.step, step := before + stage_record.updates(files.folder))
        kept = [info.name for info in result.matrix.shown if not result.matrix.masked(info.name, stage)]
        self._scalars(EVALUATION, row.values, step)
        self._scalars(FORGETTING, {name: result.matrix.forgetting(name, stage) for name in kept}, step)
        self.pictures(EVALUATION, list(_samples(folder, row.evaluation)), step)
        columns = [info.name for info in result.matrix.shown]
        rows = [[each.label, *(each.values.get(name) for name in columns)] for each in result.matrix.rows]
        self.table(result, ["stage", *columns], rows, step)
        self.sent.rows = stage + 1
        self._remember(folder)

    @hookimpl
    def run_finished(self, folder: Path) -> None:
        """Close the run for good."""
        if self.open:
            self.end(failed=False)
            self.sent.finished, self.open = True, False
            self._remember(folder)

    @hookimpl
    def run_failed(self, folder: Path) -> None:
        """Close the run; rerunning the command continues it."""
        if self.open:
            self.end(failed=True)
            self.open = False
            self._remember(folder)

    @hookimpl
    def summary(self, folder: Path) -> dict[str, str]:
        """Where the run is."""
        return {self.name: self.where(folder)}

    def _scalars(self, section: str, values: Mapping[str, float | None], step: int) -> None:
        finite = {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}
        self.scalars({f"{section}/{key}" if section else key: value for key, value in finite.items()}, step)

    def _file(self, folder: Path) -> Path:
        return folder / f"{self.name}.json"

    def _remember(self, folder: Path) -> None:
        write_json(self._file(folder), asdict(self.sent))


def _settings(folder: Path) -> dict[str, Any]:
    """The run's settings by dotted key; empty if they cannot be read."""
    with suppress(RilbenchError):
        return flat(parse(read_text(RunFiles(folder).settings, sealed=True), RunFiles.SETTINGS))
    return {}


def _samples(folder: Path, evaluation: str) -> Iterator[Picture]:
    """The sample images of an evaluation, those inside the store."""
    store, prompts = RunFiles(folder).store, list[Prompt]()
    found = [(n, path) for n, path in store.evaluation(evaluation).pictures() if inside(store.folder, path)]
    with suppress(RilbenchError, OSError):  # the prompt file is not on this machine
        prompts = evaluation_prompts(str(_settings(folder).get("evaluate.prompts")))
    for number, path in found:
        yield Picture(prompt=prompts[number].label if number < len(prompts) else str(number), path=path)
