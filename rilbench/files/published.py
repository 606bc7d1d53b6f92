"""Where a needed file is on this machine, and whether it is the published one.

Files of the Hub are in its cache (HF_HOME), others in the folder `cache()`. Only `rilbench fetch` downloads. Hashing
gigabytes takes long: a file that was found to be right is hashed again only after its time or size has changed.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, hub_files
from rilbench.contracts.redact import anonymous, argument
from rilbench.files.hub import digest, etag_fault, hub_place

SHOWN = 2  # missing files in a message


def cache() -> Path:
    """RILBENCH_CACHE, or `rilbench` in XDG_CACHE_HOME, which is `~/.cache` by default."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("RILBENCH_CACHE") or user / "rilbench")


def place_of(file: NeededFile) -> Path:
    """The path of a file on this machine, whether it exists or not; secrets of an address are not part of it."""
    if file.hub:
        return hub_place(*file.hub)
    if not file.published:
        return Path(file.source).expanduser()
    return cache() / f"{hashlib.sha256(anonymous(file.source).encode()).hexdigest()[:8]}-{file.name}"


def is_present(file: NeededFile) -> bool:
    """True if the file exists; `fault_of` says whether it is the published one."""
    return place_of(file).is_file()


def fault_of(file: NeededFile) -> str | None:
    """Why the file on this machine is not the published one; None if it is."""
    place = place_of(file)
    if not place.is_file():
        return "is missing"
    mark = _mark(file)
    fault = fault_at(file, place)
    if fault is None and file.published:
        with suppress(OSError):  # without write permission it is hashed again next time
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    return fault


def fault_at(file: NeededFile, path: Path) -> str | None:
    """The same for a file at another path; the Hub's cache has the hash of every file as the name of its blob."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size:,} bytes, published are {file.size:,}"
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected and (found := digest(path, kind)) != expected:
            return f"has {kind} {found}, published is {expected}"
    return etag_fault(path, path.resolve().name) if file.hub else None


def require_published(files: Sequence[NeededFile]) -> None:
    """Raises ConfigError, with the command that fetches them, unless every file is present and the published one.

    A file that any process has checked is not read again until it changes.
    """
    if absent := [file for file in files if not is_present(file)]:
        raise missing(absent)
    for file in files:
        place = place_of(file)
        if not os.path.exists(_mark(file)) and (fault := fault_of(file)):  # Path.exists raises if it may not look
            raise ConfigError(f"{place} {fault}. It came from {file.source}; get it again with: {fetch_line()}")


def hub_folder(name: str, files: Sequence[str]) -> Path:
    """The cache's folder of a Hub id, OWNER/REPO or OWNER/REPO@REVISION.

    Raises ConfigError if one of `files` is missing or not the published one.
    """
    wanted = hub_files(name, files)
    require_published(wanted)
    return place_of(wanted[0]).parents[files[0].count("/")]


def _mark(file: NeededFile) -> Path:
    """The empty file that is there once the file was found to be the published one, as its time and size are now."""
    place = place_of(file).resolve()
    state = f"{place}\0{place.stat().st_mtime_ns}\0{place.stat().st_size}\0{file.facts}"
    return cache() / "checked" / hashlib.sha256(state.encode(errors="surrogateescape")).hexdigest()


class MissingFilesError(ConfigError):
    """Needed `files` are missing; `remedies` are the commands that fetch or make them."""

    def __init__(self, text: str, *, files: Sequence[NeededFile] = (), remedies: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.files, self.remedies = tuple(files), tuple(remedies)


def missing(files: Sequence[NeededFile], note: str = "") -> MissingFilesError:
    """The message for missing files, after a note: names, paths, and the commands that fetch or make them."""
    published = [file for file in files if file.published]
    absent = [f"{file.name} of {file.source} should be at {place_of(file)}" for file in published[:SHOWN]]
    absent += [f"{len(published) - SHOWN} more, which --check lists"] if len(published) > SHOWN else []
    remedies = [f"get published files with: {fetch_line()}"] if published else []
    absent += [f"there is no {place_of(file)}" for file in files if not file.published]
    remedies += [f"make {file.name} with: {file.made_by}" for file in files if file.made_by]
    text = f"missing files: {'; '.join(absent)}; {'; '.join(remedies)}"
    notes = [note] if note else []
    return MissingFilesError(". ".join([*notes, text]), files=files, remedies=[*notes, *remedies])


def fetch_line() -> str:
    """The `rilbench fetch` command for the current command; `fetch` has the options of `run` and `explain`."""
    words = sys.argv[1:]
    if words[:1] in (["run"], ["explain"]):
        return shlex.join(["rilbench", "fetch", *map(argument, words[1:])])
    return "rilbench fetch, with the --config, --rewards and settings of the run"
