"""Files that settings need: where one comes from, where it lies on this machine, and whether it is the published one.

A setting that names a file takes a path, a `package:` path or a reference:

    hub:OWNER/REPO/FILE@REVISION      a file of a Hub repository; `main` without a revision
    url:https://HOST/PATH/FILE        any other file

with what is known of the file behind it: `#sha256=HEX`, `#md5=HEX`, `#size=BYTES`, `#licence=NAME`, joined by `&`.
Files of the Hub lie in its ordinary cache (HF_HOME), others in the folder `cache()`. Only `rilbench fetch` downloads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.redact import anonymous, argument, public
from rilbench.files.cache import cache, is_known, remember

INDEX = "model_index.json"  # what a diffusers pipeline on the Hub is made of
SCHEMES = ("hub:", "url:")
HUB = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(@(?P<revision>[^@]+))?")
SHOWN = 2  # missing files in a message
HEX = {"sha256": 64, "md5": 32}  # digits


@dataclass(frozen=True)
class NeededFile:
    """A file that settings need; None stands for what is not known of it.

    source: a reference without what follows `#`, or the path of a file that is made here.
    size: bytes. sha256, md5: hexadecimal. licence: what people should know before they use it.
    made_by: the command that makes a file that is not published.
    """

    source: str
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    licence: str = ""
    made_by: str = ""

    def __post_init__(self) -> None:
        if self.source.startswith("hub:") and not HUB.fullmatch(self.source):
            raise ConfigError(f"{self.source!r} names no file of the Hub; write hub:OWNER/REPO/FILE@REVISION")
        if self.source.startswith("url:") and not urlsplit(self.address).path.strip("/"):
            raise ConfigError(f"{self.source!r} names no file; write url:https://HOST/PATH/FILE")
        for name, digits in HEX.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
                raise ConfigError(f"{self.source}: {name} has {digits} hexadecimal digits in lower case, not {value!r}")

    @classmethod
    def parse(cls, text: str) -> NeededFile:
        """The file a setting names; ConfigError when the text is not a reference or says unknown things of it."""
        source, _, facts = text.partition("#")
        values: dict[str, Any] = dict(parse_qsl(facts, keep_blank_values=True))
        known = ("size", "sha256", "md5", "licence")
        for key in values:
            if key not in known:
                raise ConfigError(f"{source}: {unknown('fact', key, known)}")
        if "size" in values:
            if not values["size"].isdecimal():
                raise ConfigError(f"{source}: size is a number of bytes, not {values['size']!r}")
            values["size"] = int(values["size"])
        return cls(source, **values)

    @property
    def hub(self) -> tuple[str, str, str] | None:
        """Repository, file and revision on the Hub; None for a plain address."""
        match = HUB.fullmatch(self.source)
        return (match["repo"], match["file"], match["revision"] or "main") if match else None

    @property
    def name(self) -> str:
        """The file's name: in its repository, or without folders."""
        if self.hub:
            return self.hub[1]
        return (unquote(urlsplit(self.address).path) if self.published else self.source).rsplit("/", 1)[-1]

    @property
    def address(self) -> str:
        """Where a published file that is not of the Hub is fetched from."""
        return self.source.removeprefix("url:")

    @property
    def published(self) -> bool:
        """Whether it can be fetched."""
        return is_reference(self.source)

    @property
    def origin(self) -> str:
        """The repository, or the first part of the address, for tables."""
        if self.hub:
            repo, _, revision = self.hub
            return f"{repo}@{revision[:8]}"
        address = urlsplit(public(self.address))
        return "/".join([address.netloc, *address.path.split("/")[1:3]]) if self.published else "made here"

    @property
    def place(self) -> Path:
        """Where the file lies on this machine, or will; the secrets of an address take no part in it."""
        if self.hub:
            return hub_place(*self.hub)
        if not self.published:
            return Path(self.source).expanduser()
        return cache() / f"{hashlib.sha256(anonymous(self.source).encode()).hexdigest()[:8]}-{self.name}"

    @property
    def present(self) -> bool:
        """Whether something lies there; `fault` says whether it is the published file."""
        return self.place.is_file()

    @property
    def facts(self) -> tuple[int | None, str | None, str | None]:
        """What is known of its contents; the Hub's hash is the name of the file in its cache."""
        return self.size, self.sha256, self.md5

    def fault(self) -> str | None:
        """Why the file on this machine is not the published one; None when nothing speaks against it.

        Read once for each state of the file.
        """
        place = self.place
        if not place.is_file():
            return "is missing"
        state = place.stat()
        return _fault_once(self, place, state.st_mtime_ns, state.st_size)

    def fault_of(self, path: Path) -> str | None:
        """The same for a file somewhere else; the Hub's cache knows the hash of every file, as the name of its blob."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"has {size:,} bytes, published are {self.size:,}"
        for kind, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected and (found := digest(path, kind)) != expected:
                return f"has {kind} {found}, published is {expected}"
        return etag_fault(path, path.resolve().name) if self.hub else None


def is_reference(text: str) -> bool:
    """Whether a setting names a published file."""
    return text.startswith(SCHEMES)


def named(settings: Any) -> list[NeededFile]:
    """The references among the values of a settings dataclass."""
    values = [getattr(settings, field.name) for field in dataclasses.fields(settings)]
    return [NeededFile.parse(value) for value in values if isinstance(value, str) and is_reference(value)]


def located(text: str) -> Path:
    """Where a reference's file lies; ConfigError with the command that gets it when it does not."""
    file = NeededFile.parse(text)
    if not file.present:
        raise missing([file])
    return file.place


def verified(text: str) -> Path:
    """`located`, and ConfigError when the file is not the published one."""
    file = NeededFile.parse(text)
    require_published([file])
    return file.place


def require_published(files: Sequence[NeededFile]) -> None:
    """ConfigError unless every file is here and the published one, with the command that gets it.

    A file that was found right by any process is not read again until it changes.
    """
    if absent := [file for file in files if not file.present]:
        raise missing(absent)
    for file in files:
        if not is_known(file.place.resolve(), file.facts) and (fault := file.fault()):
            raise ConfigError(f"{file.place} {fault}. It came from {file.source}; get it again with: {fetch_line()}")


@lru_cache(maxsize=256)
def _fault_once(file: NeededFile, place: Path, changed: int, size: int) -> str | None:
    fault = file.fault_of(place)
    if fault is None and file.published:
        remember(place.resolve(), changed, size, file.facts)
    return fault


class MissingFilesError(ConfigError):
    """Needed `files` are not there; `remedies` are the commands that get or make them."""

    def __init__(self, text: str, *, files: Sequence[NeededFile] = (), remedies: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.files, self.remedies = tuple(files), tuple(remedies)


def missing(files: Sequence[NeededFile], note: str = "") -> MissingFilesError:
    """What to say of files that are not there, after a note: which, where they should be, and the commands that get or
    make them."""
    published = [file for file in files if file.published]
    told = [f"{file.name} of {file.source} should be at {file.place}" for file in published[:SHOWN]]
    told += [f"{len(published) - SHOWN} more, which --check lists"] if len(published) > SHOWN else []
    remedies = [f"get what is published with: {fetch_line()}"] if published else []
    told += [f"there is no {file.place}" for file in files if not file.published]
    remedies += [f"make {file.name} with: {file.made_by}" for file in files if file.made_by]
    text = f"missing files: {'; '.join(told)}; {'; '.join(remedies)}"
    notes = [note] if note else []
    return MissingFilesError(". ".join([*notes, text]), files=files, remedies=[*notes, *remedies])


def fetch_line() -> str:
    """The command that gets what the command being run needs; `fetch` takes the options of `run` and `explain`."""
    words = sys.argv[1:]
    if words[:1] in (["run"], ["explain"]):
        return shlex.join(["rilbench", "fetch", *map(argument, words[1:])])
    return "rilbench fetch, with the --config, --rewards and settings of the run"


def hub_place(repo: str, file: str, revision: str) -> Path:
    """Where the Hub's cache has a file, or will have it."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    if isinstance(found, str):
        return Path(found)
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    return folder / "snapshots" / commit_of(repo, revision) / file


def commit_of(repo: str, revision: str) -> str:
    """The commit that the Hub's cache has for a branch or tag; the revision itself when it has none."""
    from huggingface_hub import constants

    branch = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "refs" / revision
    return branch.read_text().strip() if branch.is_file() else revision


def hub_folder(name: str, files: Sequence[str]) -> Path:
    """The cache's folder of a Hub id, OWNER/REPO or OWNER/REPO@REVISION.

    ConfigError when one of `files` is missing or not the published one.
    """
    wanted = hub_files(name, files)
    require_published(wanted)
    place, inside = wanted[0].place, files[0]
    return place.parents[inside.count("/")]


def hub_files(name: str, files: Sequence[str], licence: str = "") -> list[NeededFile]:
    """Files of a Hub id, OWNER/REPO or OWNER/REPO@REVISION."""
    repo, _, revision = name.partition("@")
    return [NeededFile(f"hub:{repo}/{file}@{revision or 'main'}", licence=licence) for file in files]


def is_hub_id(name: str) -> bool:
    """Whether a name has the form OWNER/REPO or OWNER/REPO@REVISION, and is no folder here."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", name)) and not Path(name).exists()


def etag_fault(path: Path, etag: str) -> str | None:
    """Why a file is not the one of a Hub etag: the sha256 of a large file, git's hash of a small one."""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        kind, found = "sha256", digest(path, "sha256")
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        kind, found = "git hash", digest(path, "sha1", b"blob %d\0" % path.stat().st_size)
    else:
        return None
    return None if found == etag else f"has {kind} {found}, the Hub says {etag}"


def digest(path: Path, kind: str, before: bytes = b"") -> str:
    """The hash of `before` and a file's contents, hexadecimal."""
    hashed = hashlib.new(kind, before, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()
