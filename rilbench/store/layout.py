"""The files and folders of a store. Their names are spelled here and nowhere else.

    RUN/    result.json  config.yaml  environment.json  plan.json  table.md  samples.png  memo-DIGEST.json
    STUDY/  study.json                                                       its runs are next to it
    stages/STAGE/  stage.json  adapter_model.safetensors  adapter_config.json  carry.safetensors  checkpoint.pt
    stages/STAGE/validation/UPDATE-NUMBER.png
    stages/STAGE/evaluations/EVALUATION/  metrics.json  scores.safetensors  images.safetensors  sample-0.png ...

STAGE and EVALUATION are hashes of everything that determines their contents, so runs share them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

EVALUATION = re.compile(r"stages/([\w-]+)/evaluations/[\w-]+")  # an evaluation's folder, relative to the store


@dataclass(frozen=True)
class _Folder:
    folder: Path


class _Place:
    """A file or folder, by its name in the folder of an instance."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, files: _Folder, _: type) -> Path:
        return files.folder / self.name


@dataclass(frozen=True)
class Store(_Folder):
    """A store: runs, and the stages and evaluations that they share."""

    stages = _Place("stages")  # the folder of all stages

    def run(self, name: str) -> RunFiles:
        """A run, by its name."""
        return RunFiles(self.folder / name)

    def stage(self, identity: str) -> StageFiles:
        """A stage, by its identity."""
        return StageFiles(self.stages / identity)

    def memos(self, digest: str) -> list[Path]:
        """The files that record which run answers a request."""
        return sorted(self.folder.glob(f"*/{_memo(digest)}"))

    def all_stages(self) -> list[StageFiles]:
        """Every stage, by identity."""
        return [StageFiles(folder) for folder in sorted(self.stages.glob("[!.]*"))]

    def evaluation(self, path: str) -> EvaluationFiles:
        """An evaluation, by its folder relative to the store, as `Row.evaluation` has it."""
        return EvaluationFiles(self.folder / path)

    def relative(self, path: Path) -> str:
        """A path relative to the store."""
        return path.relative_to(self.folder).as_posix()


@dataclass(frozen=True)
class RunFiles(_Folder):
    """The files of a run; the folder of a study has `study` instead."""

    RESULT: ClassVar[str] = "result.json"
    SETTINGS: ClassVar[str] = "config.yaml"
    ENVIRONMENT: ClassVar[str] = "environment.json"
    TABLE: ClassVar[str] = "table.md"
    PICTURES: ClassVar[str] = "samples.png"
    SEQUENCE: ClassVar[str] = "sequence"  # the folder of an export that is a store with the run

    result = _Place(RESULT)  # the matrix and all that is computed from it
    settings = _Place(SETTINGS)  # the configuration that repeats the run
    environment = _Place(ENVIRONMENT)  # versions, device and commit
    plan = _Place("plan.json")  # the evaluations that the run consists of, written before the first one
    table = _Place(TABLE)  # the result as a table in Markdown
    pictures = _Place(PICTURES)  # the grid of images: a row per prompt, a column per stage
    study = _Place("study.json")  # the definition of a study, its runs and its progress

    @property
    def store(self) -> Store:
        """The store that contains the run, with links resolved."""
        return Store(self.folder.resolve().parent)

    def memo(self, digest: str) -> Path:
        """The states of the run's input and output files, under the digest of the request."""
        return self.folder / _memo(digest)

    @property
    def is_study(self) -> bool:
        """Whether the folder is a study's."""
        return self.study.exists()

    @property
    def is_run(self) -> bool:
        """Whether the folder is that of a run, begun or finished."""
        if self.folder.name.startswith(".") or self.is_study:
            return False
        return any(file.exists() for file in (self.result, self.environment, self.plan))


@dataclass(frozen=True)
class StageFiles(_Folder):
    """The files of a stage: its pair in PEFT's format, and how it was trained."""

    WEIGHTS: ClassVar[str] = "adapter_model.safetensors"
    ADAPTER: ClassVar[str] = "adapter_config.json"

    record = _Place("stage.json")  # what the stage was trained from, how long it took and its curves
    weights = _Place(WEIGHTS)  # the pair
    adapter = _Place(ADAPTER)  # what PEFT reads in addition to the weights
    carry = _Place("carry.safetensors")  # tensors that the strategy passes to the next stage
    checkpoint = _Place("checkpoint.pt")  # the state of an unfinished training
    validation = _Place("validation")  # the folder of the validation images
    evaluations = _Place("evaluations")  # the folder of all evaluations of the stage

    def validation_picture(self, update: int, number: int) -> Path:
        """The image of a validation prompt after an update."""
        return self.validation / f"{update:06}-{number}.png"

    def evaluation(self, identity: str) -> EvaluationFiles:
        """An evaluation, by its identity."""
        return EvaluationFiles(self.evaluations / identity)

    def all_evaluations(self) -> list[EvaluationFiles]:
        """Every evaluation of the stage, by identity."""
        return [EvaluationFiles(folder) for folder in sorted(self.evaluations.glob("[!.]*"))]


@dataclass(frozen=True)
class EvaluationFiles(_Folder):
    """The files of an evaluation."""

    numbers = _Place("metrics.json")  # means, intervals and seconds; written last
    scores = _Place("scores.safetensors")  # the score of every image by every metric that gives one
    unfinished = _Place("unfinished")  # the folder of images from which an interrupted evaluation resumes
    images = _Place("images.safetensors")  # the base model's images, when a metric compares others with them

    def picture(self, number: int) -> Path:
        """The sample image of a prompt."""
        return self.folder / f"sample-{number}.png"

    def pictures(self) -> list[tuple[int, Path]]:
        """Number and file of every existing sample image, in order."""
        found = ((re.fullmatch(r"sample-(\d+)\.png", file.name), file) for file in self.folder.glob("sample-*.png"))
        return sorted((int(match[1]), file) for match, file in found if match)


def _memo(digest: str) -> str:
    return f"memo-{digest}.json"


def stage_of(evaluation: str) -> str:
    """The stage of an evaluation's folder relative to the store; empty for another path."""
    match = EVALUATION.fullmatch(evaluation)
    return match[1] if match else ""
