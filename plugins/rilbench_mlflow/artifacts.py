"""What of a run's files is needed again, from the tracking server."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rilbench.contracts.result import RunResult
from rilbench.store.layout import RunFiles


@contextmanager
def downloaded(client: Any, run_id: str, name: str) -> Iterator[Path | None]:
    """A file of a run for as long as the block runs; None when the run has none of that name."""
    if name not in {item.path for item in client.list_artifacts(run_id)}:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(client.download_artifacts(run_id, name, folder))


def result(client: Any, run_id: str) -> RunResult | None:
    """The result of a run; None when it has none, ConfigError when it is damaged or of another schema."""
    with downloaded(client, run_id, RunFiles.RESULT) as file:
        if file is None:
            return None
        return RunResult.from_json(
            json.loads(file.read_text(encoding="utf-8")), f"{RunFiles.RESULT} of the run {run_id}"
        )
