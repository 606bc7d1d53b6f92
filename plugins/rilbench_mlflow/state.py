"""What is sent already: `mlflow.json` in a run's folder, where a person finds the run, and who is at work on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.contracts.errors import ConfigError
from rilbench.store.files import read_json, write_json
from rilbench_mlflow.address import database, experiment, is_http, public, tracking_uri

FILE = "mlflow.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """`experiment` is what was asked for; `key` is on disk before the run is made, and in a tag of it. `stages` counts
    the rows sent. `status` is what the MLflow run was last told to be, empty before its files."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    key: str = ""
    run_id: str = ""
    name: str = ""
    stages: int = 0
    status: str = ""


def load(folder: Path) -> State:
    """The state of a run's folder, empty when nothing was sent; ConfigError when the file is corrupt."""
    file = folder / FILE
    if not file.exists():
        return State()
    try:
        return State(**read_json(file))
    except TypeError as error:
        raise ConfigError(f"{file} is damaged ({error}); delete it, the run is then sent again as a new one") from None


def save(folder: Path, state: State) -> None:
    """Replace the state of a run's folder."""
    write_json(folder / FILE, asdict(state))


def complete(folder: Path) -> bool:
    """Whether everything was sent to today's address. Believes the file, so a repeated run needs no server."""
    state, file = load(folder), database(tracking_uri())
    return state.status == "FINISHED" and here(state) and (file is None or file.exists())


def here(state: State) -> bool:
    """Whether the run was sent to today's address and experiment."""
    return state.uri == public(tracking_uri()) and state.experiment == experiment()


def location(folder: Path) -> str | None:
    """One line saying where a run is; None when it was never sent."""
    state = load(folder)
    if not state.run_id:
        return None
    rest = f"; incomplete, `rilbench upload {folder}` sends the rest" if state.status in ("", "RUNNING") else ""
    if is_http(state.uri):
        return f"{state.uri.rstrip('/')}/#/experiments/{state.experiment_id}/runs/{state.run_id}{rest}"
    return f"run {state.name} in {state.uri} (rilbench ui opens it){rest}"


def hold(folder: Path) -> FileLock:
    """The lock of the process that is at work on a run, held unless another process has it. The operating system frees
    it with the process, however that ended."""
    lock = FileLock(folder / ".mlflow.alive", thread_local=False)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=0)
    return lock


@contextmanager
def absent(folder: Path) -> Iterator[bool]:
    """Whether no process is at work on a run."""
    lock = hold(folder)
    try:
        yield lock.is_locked
    finally:
        lock.release()
