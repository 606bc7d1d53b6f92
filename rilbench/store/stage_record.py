"""`stage.json`: what a stage was trained from, for how long, and its curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import DamagedError
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import StageFiles

AGAIN = "Rerun the run's command to have it written again."
DOCUMENT = {"model", "train", "chain"}  # what others read of it
LIKE = {"label": str, "seconds": float, "document": dict, "carry": bool, "log": list}


def write(
    folder: Path,
    *,
    label: str,
    document: Mapping[str, Any],
    seconds: float,
    log: Sequence[Mapping[str, float]],
    carry: bool,
) -> None:
    """Write the record of a training; `carry`: whether the strategy passed on tensors."""
    values = {"label": label, "seconds": float(seconds), "document": document, "carry": carry}
    write_json(StageFiles(folder).record, values | {"log": list(log)})


def read(folder: Path) -> dict[str, Any]:
    """The record in a stage's folder. Raises DamagedError if it is missing or damaged."""
    values: dict[str, Any] = read_json(StageFiles(folder).record, like=LIKE, remedy=AGAIN)
    if missing := DOCUMENT - values["document"].keys():
        raise damaged(StageFiles(folder).record, f"its document has no {', '.join(sorted(missing))}", AGAIN)
    return values


def updates(folder: Path) -> int:
    """How many updates a stage was trained for; 0 without a record, as the base model's and a merge's."""
    if not StageFiles(folder).record.exists():
        return 0
    return max((int(entry["update"]) for entry in read(folder)["log"]), default=0)


def steps(folders: Iterable[Path]) -> int:
    """The updates of all these stages: where the next one begins on the axis that the stages of a run share."""
    return sum(map(updates, folders))


def damage(folder: Path) -> str:
    """What is wrong with the record; empty if it is usable."""
    try:
        read(folder)
    except DamagedError as error:
        return str(error)
    return ""
