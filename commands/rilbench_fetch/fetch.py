"""Downloads the files a configuration needs, and checks those that are present."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from rilbench.contracts.errors import RilbenchError, reason
from rilbench.contracts.files import NeededFile, hub_files
from rilbench.engine.config import RunConfig
from rilbench.engine.needed import Need, hub_model, needed
from rilbench.engine.parts import Parts
from rilbench.files import pipelines as pipeline_files
from rilbench.files.prompts import read_prompts
from rilbench.files.published import fault_of, is_present, place_of
from rilbench_fetch.download import OnBytes, get

PRESENT, MISSING, CORRUPT, FAILED = "present", "missing", "corrupt", "failed"
Bar = Callable[[NeededFile], AbstractContextManager[OnBytes]]


@dataclass(frozen=True)
class State:
    """The state of a needed file on this machine; `reason` explains any state but present."""

    need: Need
    state: str
    reason: str = ""

    @property
    def size(self) -> int | None:
        """Size in bytes on this machine, else as published."""
        return place_of(self.need.file).stat().st_size if is_present(self.need.file) else self.need.file.size


def check(config: RunConfig, parts: Parts, bar: Bar) -> list[State]:
    """The state of every needed file, with its contents verified; nothing is downloaded."""
    states = []
    for need in needed(parts):
        with bar(need.file):  # large files take seconds
            states.append(state_of(need))
    return states


def state_of(need: Need, failure: str = "") -> State:
    """Present, missing or corrupt. `failure`: why the file, or a file that it lists, could not be fetched."""
    fault = fault_of(need.file)
    if fault is None:
        return State(need, FAILED, failure) if failure else State(need, PRESENT)
    advice = failure or (f"make it with: {need.file.made_by}" if need.file.made_by else "")
    if not is_present(need.file):
        return State(need, MISSING, advice)
    return State(need, CORRUPT, "; ".join(part for part in (fault, advice) if part))


def fetch(config: RunConfig, parts: Parts, bar: Bar) -> list[State]:
    """Download missing and corrupt files one after the other; a failed download does not stop the others."""
    failures = dict(_fetched(config, parts, bar))
    return [state_of(need, failures.get(need.file.source, "")) for need in needed(parts)]


def _fetched(config: RunConfig, parts: Parts, bar: Bar) -> Iterator[tuple[str, str]]:
    """Fetch the files; yields source and reason of each failure."""
    for need in needed(parts):
        if need.file.published:
            yield from _got(need.file, bar)
    model = hub_model(config.model)
    if model and is_present(index := pipeline_files.index_of(*model)):
        try:
            listed = _on_hub(*model)
        except Exception as error:  # from the Hub's client
            yield index.source, f"cannot list the files of {model[0]}: {reason(error)[:300]}"
            return
        for file in listed:
            yield from _got(file, bar)


def _on_hub(repo: str, revision: str) -> list[NeededFile]:
    """The files of a pipeline as the Hub lists them; its index must be in the cache."""
    from huggingface_hub import HfApi

    index = pipeline_files.read_index(pipeline_files.index_of(repo, revision))
    names = [sibling.rfilename for sibling in HfApi().model_info(repo, revision=revision).siblings or []]
    return hub_files(f"{repo}@{revision}", pipeline_files.wanted(index, names))


def _got(file: NeededFile, bar: Bar) -> Iterator[tuple[str, str]]:
    try:
        with bar(file) as on_bytes:
            get(file, on_bytes)
    except RilbenchError as error:
        yield file.source, str(error)


def prompts_line(config: RunConfig) -> str:
    """The number of prompts for training, for evaluation, and in both (these do not test generalization)."""
    files = (config.train.prompts, config.evaluate.prompts)
    train, evaluate = ({prompt.text for prompt in read_prompts(file)} for file in files)
    return f"{len(train)} for training, {len(evaluate)} for evaluation, {len(train & evaluate)} in both"
