"""What the folder of a run says of its settings and its surroundings."""

from __future__ import annotations

from typing import Any

from rilbench.errors import ConfigError
from rilbench.layers import values_in
from rilbench.result import RunResult
from rilbench.settings import flat
from rilbench.store import read_json


def settings(run: RunResult) -> dict[str, Any]:
    """`config.yaml` by dotted key; empty when there is none that can be read, as of a tracking server's run."""
    if run.folder is None:
        return {}
    try:
        values = values_in(run.folder / "config.yaml")
    except ConfigError:
        return {}
    return flat(values)


def environment(run: RunResult) -> dict[str, Any]:
    """`environment.json` likewise; ConfigError when it is damaged."""
    file = run.folder and run.folder / "environment.json"
    return flat(read_json(file)) if file and file.exists() else {}
