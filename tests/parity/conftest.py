"""Full-size comparisons with other people's code: minutes and gigabytes each, so only RILBENCH_PARITY=1 runs them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from parity_records import Figures

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skipped = pytest.mark.skip(reason="full-size models; RILBENCH_PARITY=1 runs it, see docs/evidence.md")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.parity)
            if os.environ.get("RILBENCH_PARITY") != "1":
                item.add_marker(skipped)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where random full-size models are written once: RILBENCH_PARITY_CACHE, or a folder deleted at the end."""
    named = os.environ.get("RILBENCH_PARITY_CACHE")
    folder = Path(named) if named else tmp_path_factory.mktemp("parity")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if not named:
        shutil.rmtree(folder)


@pytest.fixture
def figures(record_property: object) -> Figures:
    """Where a test writes down what it saw, and has it compared with its bound."""
    file = os.environ.get("RILBENCH_PARITY_RECORDS")
    return Figures(Path(file) if file else None, record_property)
