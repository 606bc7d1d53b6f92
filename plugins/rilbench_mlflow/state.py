"""Where a run is in MLflow: `mlflow.json` in its folder. How much of it is there stands in MLflow itself."""

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
    """`experiment` is what was asked for; `key` is on disk before the run is made, and in a tag of it. `status` is that
    of the run when everything was sent, empty before."""

    uri: str = ""
    experiment: str = ""
    experiment_id: str = ""
    key: str = ""
    run_id: str = ""
    status: str = ""

    @property
    def here(self) -> bool:
        """Whether the run was sent to today's address and experiment."""
        return self.uri == public(tracking_uri()) and self.experiment == experiment()


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
    """The lock of the process that sends a run, held unless another process has it for so many seconds. The operating
    system frees it with the process, however that ended."""
    lock = FileLock(folder / ".mlflow.lock", thread_local=False)
    with suppress(Timeout, OSError):
        lock.acquire(timeout=seconds)
    return lock


@contextmanager
def absent(folder: Path) -> Iterator[bool]:
    """Whether no other process sends a run, which this one may for as long."""
    lock = hold(folder)
    try:
        yield lock.is_locked
    finally:
        lock.release()
