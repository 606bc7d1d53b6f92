"""Where a run is in MLflow: `mlflow.json` in its folder. MLflow itself records how much of the run was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.redact import public
from rilbench.store.files import read_json, write_json
from rilbench_mlflow.address import database, experiment, is_http, tracking_uri

FILE = "mlflow.json"


@dataclass(frozen=True, kw_only=True)
class State:
    """`experiment` is the requested one; `key` is saved before the run is created, and is a tag of the run. `status` is
    the run's status once everything was sent, empty before."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    key: str = ""
    run_id: str = ""
    status: str = ""

    @property
    def here(self) -> bool:
        """Whether the run was sent to the current address and experiment."""
        return self.uri == public(tracking_uri()) and self.experiment == experiment()


def load(folder: Path) -> State:
    """The state of a run's folder, empty when nothing was sent; raises ConfigError when the file is corrupt."""
    file = folder / FILE
    if not file.exists():
        return State()
    try:
        return State(**read_json(file))
    except TypeError as error:
        raise ConfigError(f"{file} is damaged ({error}); delete it to send the run again as a new one") from None


def save(folder: Path, state: State) -> None:
    """Replace the state of a run's folder."""
    write_json(folder / FILE, asdict(state))


def complete(folder: Path) -> bool:
    """Whether everything was sent to the current address. Reads the file only, so a repeated run needs no server."""
    state, file = load(folder), database(tracking_uri())
    return state.status == "FINISHED" and state.here and (file is None or file.exists())


def location(folder: Path) -> str | None:
    """One line saying where a run is; None when it was never sent."""
    state = load(folder)
    if not state.run_id:
        return None
    rest = f"; incomplete, `rilbench upload {folder}` sends the rest" if state.status in ("", "RUNNING") else ""
    if is_http(state.uri):
        return f"{state.uri.rstrip('/')}/#/experiments/{state.experiment_id}/runs/{state.run_id}{rest}"
    return f"run {folder.name} in {state.uri} (rilbench ui opens it){rest}"


def hold(folder: Path, seconds: float = 0) -> FileLock:
    """The lock of the process that sends a run; not held if another process keeps it for longer than `seconds`. The
    operating system releases it when the process ends."""
    lock = FileLock(folder / ".mlflow.lock", thread_local=False)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=seconds)
    return lock


@contextmanager
def absent(folder: Path) -> Iterator[bool]:
    """Holds the lock of a run; yields False if another process is sending it."""
    lock = hold(folder)
    try:
        yield lock.is_locked
    finally:
        lock.release()
