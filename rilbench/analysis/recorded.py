"""What the folder of a run says of its settings and its surroundings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rilbench.contracts import redact
from rilbench.contracts.errors import ConfigError, DamagedError
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench.contracts.untrusted import inside
from rilbench.engine.layers import values_in
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, read_text
from rilbench.store.layout import RunFiles


def settings(run: RunResult) -> dict[str, Any]:
    """`config.yaml` by dotted key, addresses without their secrets; empty when there is none, as of a tracking server's
    run; DamagedError when it is damaged."""
    file = _own(run, RunFiles.SETTINGS)
    if file is None:
        return {}
    try:
        read_text(file)  # its checksum
        return flat(redact.values(values_in(file)))
    except DamagedError:
        raise
    except ConfigError as error:
        raise damaged(file, error) from None


def environment(run: RunResult) -> dict[str, Any]:
    """`environment.json` likewise."""
    file = _own(run, RunFiles.ENVIRONMENT)
    if file is None:
        return {}
    values = read_json(file)
    if not isinstance(values, dict):
        raise damaged(file, "it holds no surroundings")
    return flat(values)


def _own(run: RunResult, name: str) -> Path | None:
    """A file of the run's folder; None when there is none, or it is a link out of the store."""
    return inside(run.folder.resolve().parent, run.folder.resolve() / name) if run.folder else None
