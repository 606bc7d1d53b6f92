"""The result in a run's folder, and the evaluations that the run consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rilbench.contracts import untrusted
from rilbench.contracts.errors import reason
from rilbench.contracts.result import RunResult
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import RunFiles


def load_result(folder: Path) -> RunResult:
    """The result of a run, finished or not. Raises ConfigError if it is missing, damaged or of another schema."""
    file = RunFiles(folder).result
    return replace(RunResult.from_json(read_json(file), str(file)), folder=folder)


def write_plan(folder: Path, evaluations: Sequence[str], chains: Sequence[Sequence[tuple[str, float]]] = ()) -> None:
    """Write the evaluations of a run, relative to the store: `rilbench runs clean` keeps them.

    chains: for each row the stages, with coefficients, whose pairs make the model.
    """
    write_json(RunFiles(folder).plan, {"evaluations": list(evaluations), "chains": [list(chain) for chain in chains]})


def planned_chain(folder: Path, row: int) -> list[tuple[str, float]] | None:
    """The chain of a row of a run; None if it was not recorded. Raises DamagedError if it cannot be read."""
    file = RunFiles(folder).plan
    try:
        chains = read_json(file, like={"evaluations": list}).get("chains", ())
        return [(untrusted.name(key, str(file)), float(c)) for key, c in chains[row]] if row < len(chains) else None
    except (TypeError, ValueError) as error:
        raise damaged(file, reason(error)) from None


def planned_evaluations(folder: Path) -> list[str]:
    """The evaluations of a run. Raises DamagedError if they are unknown."""
    listed: list[object] = read_json(RunFiles(folder).plan, like={"evaluations": list})["evaluations"]
    return [path for path in listed if isinstance(path, str)]
