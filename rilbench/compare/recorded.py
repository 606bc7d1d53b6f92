"""What the folder of a run says of its settings and its surroundings."""

from __future__ import annotations

from typing import Any

from rilbench.checksums import damaged
from rilbench.errors import ConfigError, DamagedError
from rilbench.layers import values_in
from rilbench.result import RunResult
from rilbench.settings import flat
from rilbench.store import read_json, read_text


def settings(run: RunResult) -> dict[str, Any]:
    """`config.yaml` by dotted key; empty when there is none, as of a tracking server's run; DamagedError when it is
    damaged."""
    file = run.folder and run.folder / "config.yaml"
    if not file or not file.exists():
        return {}
    try:
        read_text(file)  # its checksum
        values = values_in(file)
    except DamagedError:
        raise
    except ConfigError as error:
        raise damaged(file, error) from None
    return flat(values)


def environment(run: RunResult) -> dict[str, Any]:
    """`environment.json` likewise."""
    file = run.folder and run.folder / "environment.json"
    if not file or not file.exists():
        return {}
    values = read_json(file)
    if not isinstance(values, dict):
        raise damaged(file, "it holds no surroundings")
    return flat(values)
