"""The run that another one continues: `after` is its folder, or its name in the store, with `@N` for its stage N."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import UsageError
from rilbench.contracts.result import RunResult
from rilbench.engine.config import RunConfig
from rilbench.engine.layers import read
from rilbench.store.files import read_text
from rilbench.store.layout import RunFiles
from rilbench.store.results import load_result

DEFAULT = "shapes"  # the configuration if none is named
STORE = RunConfig().store


@dataclass(frozen=True, kw_only=True)
class Place:
    """A stage of a run that can be continued; 1 is the first trained one."""

    result: RunResult
    stage: int

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        assert self.result.folder is not None
        return self.result.folder

    def text(self, store: Path) -> str:
        """As `after` is recorded: the name alone if the run is in this store."""
        same = self.folder.resolve().parent == store.resolve()
        return f"{self.folder.name if same else self.folder}@{self.stage}"


def run_folder(name: str, store: Path) -> Path:
    """The run in a folder, in an export's folder, or of a name in a store. UsageError if there is none."""
    folder = next((place for place in _places(name, store) if RunFiles(place).is_run), None)
    if folder is None:
        known = [f.parent.name for f in store.glob(f"*/{RunFiles.RESULT}")]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"no run at {name!r}: it is neither a run's folder nor a run's name in {str(store)!r}.{hint}")
    return folder


def parted(after: str, store: Path) -> tuple[str, int | None]:
    """The name and the stage of `RUN@N`; no stage without `@N`, or if the whole text names a run or an export."""
    name, _, number = after.rpartition("@")
    if not name or not number.isdecimal() or any(RunFiles(place).is_run for place in _places(after, store)):
        return after, None
    return name, int(number)


def find(after: str, store: Path) -> Place:
    """The stage that `after` names, by default the last one of a finished run. UsageError if there is none."""
    name, number = parted(after, store)
    try:
        result = load_result(run_folder(name, store))
    except UsageError as error:
        raise UsageError(f"after: {error}") from None
    labels = [row.label for row in result.matrix.rows[1:]]
    last = len(labels)
    resume = f"resume it with: {result.command}"
    if not last:
        raise UsageError(f"after: {result.name} has no stage to continue; {resume}")
    if number is None and result.status != "finished":
        raise UsageError(
            f"after: {result.name} is not finished; {resume}. Or continue one of its stages: {name}@{last}"
        )
    if number is not None and not 1 <= number <= last:
        listed = ", ".join(f"{i} ({label})" for i, label in enumerate(labels, 1))
        raise UsageError(f"after: {result.name} has no stage {number}; it has {listed}")
    return Place(result=result, stage=last if number is None else number)


def _places(name: str, store: Path) -> list[Path]:
    """Where the run of a name may be."""
    inside = Path(name) / RunFiles.SEQUENCE
    return [Path(name), store / name, *(sorted(inside.iterdir()) if inside.is_dir() else [])]


def first_layer(config: str | None, asked: Mapping[str, Any]) -> str | dict[str, Any]:
    """The configuration on which the given settings, `asked`, are put: the named one, or that of the run to continue.

    Its store is used too, unless it is part of an export. Another strategy does not inherit the label. UsageError if
    no reward is named to continue with.
    """
    if not asked.get("after"):
        return config or DEFAULT
    if not asked.get("rewards"):
        raise UsageError("after: name the rewards to add to the run, for example --rewards hps")
    if config:
        return config
    place = find(str(asked["after"]), Path(str(asked.get("store") or STORE)))
    settings = RunFiles(place.folder).settings
    read_text(settings, sealed=True)
    values = read(str(settings))
    exported = place.folder.parent.name == RunFiles.SEQUENCE
    values["store"] = STORE if exported else str(place.folder.parent)
    if asked.get("strategy") not in (None, values.get("strategy")):
        values.pop("label", None)
    return values


def recorded(config: RunConfig) -> RunConfig:
    """The configuration with the stage that is continued, so that it names the same model when that run has grown."""
    if not config.after:
        return config
    store = Path(config.store)
    return replace(config, after=find(config.after, store).text(store))
