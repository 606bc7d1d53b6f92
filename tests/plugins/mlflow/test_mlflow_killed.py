"""Runs and studies killed with SIGKILL: once the command was repeated, MLflow has what the store has."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import killed
import pytest

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]
KILLS = int(os.environ.get("RILBENCH_KILLS", "2"))  # of a run, spread over all moments; half as many of a study


@pytest.mark.slow
@pytest.mark.parametrize(("work", "count"), [(killed.run, KILLS), (killed.study, max(1, KILLS // 2))])
def test_after_kills_mlflow_has_what_the_store_has(
    place: Path, pipeline: Path, migrated: Path, work: Callable[[Path], None], count: int
) -> None:
    import mlflow.store.tracking.sqlalchemy_store  # so that no child has to import it
    import mlflow.tracking  # noqa: F401

    def fresh(name: str) -> Path:
        folder = place / name
        shutil.copytree(pipeline, folder / "pipeline")
        shutil.copy(migrated, folder)
        os.chdir(folder)
        return folder

    whole = fresh("whole")
    _, moments = killed.forked(lambda: work(whole), killed.Death(-1))
    assert killed.differences(whole) == []
    shutil.rmtree(whole)
    for i in range(count):
        at = (2 * i + 1) * moments // (2 * count)
        folder = fresh(f"kill-{at}")
        start = time.perf_counter()
        assert killed.forked(lambda: work(folder), killed.Death(at))[0], f"no kill at moment {at} of {moments}"  # noqa: B023
        killed.forked(lambda: work(folder))  # noqa: B023
        found = killed.differences(folder)
        seconds = time.perf_counter() - start
        print(f"{work.__name__} killed at moment {at} of {moments}: {found or 'equal'} ({seconds:.1f} s)")
        assert found == [], f"killed at moment {at} of {moments}"
        shutil.rmtree(folder)
