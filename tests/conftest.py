"""Fixtures shared by all tests. No test uses the network, and MLflow stays quiet unless a test is about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny tensors are faster without threads, and numbers depend on their number
sys.path.insert(0, str(Path(__file__).parent / "support"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: "test_golden" not in item.nodeid)  # the longest first, or a process waits for it alone


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random pipeline."""
    import toy

    folder = tmp_path_factory.mktemp("tiny") / "pipeline"
    toy.save_pipeline(folder)
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights are the same in every run of a test; a test without torch does not load it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def lasting() -> dict[str, ModuleType]:
    """Modules that are known not to be temporary: there are thousands, and asking each takes milliseconds a test."""
    return {}


@pytest.fixture(autouse=True)
def imports(tmp_path_factory: pytest.TempPathFactory, lasting: dict[str, ModuleType]) -> Iterator[None]:
    """A test's temporary modules are forgotten after it, as the path to them is."""
    path, temporary = list(sys.path), str(tmp_path_factory.getbasetemp())
    yield
    sys.path[:] = path
    for name, module in sys.modules.copy().items():  # in one go: a collection in between may import
        if lasting.get(name) is module:
            continue
        if str(getattr(module, "__file__", None) or "").startswith(temporary):
            del sys.modules[name]
        else:
            lasting[name] = module


@pytest.fixture
def workplace(tmp_path: Path, pipeline: Path) -> Path:
    """A folder with its own copy of the pipeline, for `toy.config`."""
    shutil.copytree(pipeline, tmp_path / "pipeline")
    return tmp_path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database: making one takes seconds."""
    from rilbench_mlflow.connection import connected

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    with connected(f"sqlite:///{file}") as client:
        client.search_experiments(max_results=1)  # opens the file
    return file


@pytest.fixture
def place(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an empty database and no MLflow settings."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated, tmp_path)
    return tmp_path
