"""Files that settings need: references to published files, and known facts about them.

A setting that names a file takes a path, a `package:` path or a reference:

    hub:OWNER/REPO/FILE@REVISION      a file of a Hub repository; `main` without a revision
    url:https://HOST/PATH/FILE        any other file

optionally followed by facts about the file: `#sha256=HEX`, `#md5=HEX`, `#size=BYTES`, `#licence=NAME`, joined by `&`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.redact import public

SCHEMES = ("hub:", "url:")
HUB = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[^@]+?)(@(?P<revision>[^@]+))?")
HEX = {"sha256": 64, "md5": 32}  # digits


@dataclass(frozen=True)
class NeededFile:
    """A file that settings need; None for what is unknown.

    source: a reference without the part after `#`, or the path of a file that a command makes.
    size: bytes. sha256, md5: hexadecimal. licence: shown before the download.
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
            raise ConfigError(f"{self.source!r} does not name a file of the Hub; write hub:OWNER/REPO/FILE@REVISION")
        if self.source.startswith("url:") and not urlsplit(self.address).path.strip("/"):
            raise ConfigError(f"{self.source!r} does not name a file; write url:https://HOST/PATH/FILE")
        for name, digits in HEX.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
                raise ConfigError(f"{self.source}: {name} must be {digits} lower-case hex digits, not {value!r}")

    @classmethod
    def parse(cls, text: str) -> NeededFile:
        """The file a setting names; ConfigError if the text is not a reference or has unknown facts."""
        source, _, facts = text.partition("#")
        values: dict[str, Any] = dict(parse_qsl(facts, keep_blank_values=True))
        known = ("size", "sha256", "md5", "licence")
        for key in values:
            if key not in known:
                raise ConfigError(f"{source}: {unknown('fact', key, known)}")
        if "size" in values:
            if not values["size"].isdecimal():
                raise ConfigError(f"{source}: size must be a number of bytes, not {values['size']!r}")
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
    def facts(self) -> tuple[int | None, str | None, str | None]:
        """The known facts about its contents; the Hub's cache names a file by its hash."""
        return self.size, self.sha256, self.md5


def is_reference(text: str) -> bool:
    """Whether a setting names a published file."""
    return text.startswith(SCHEMES)


def named(settings: Any) -> list[NeededFile]:
    """The references among the values of a settings dataclass."""
    values = [getattr(settings, field.name) for field in dataclasses.fields(settings)]
    return [NeededFile.parse(value) for value in values if isinstance(value, str) and is_reference(value)]


def hub_files(name: str, files: Sequence[str], licence: str = "") -> list[NeededFile]:
    """Files of a Hub id, OWNER/REPO or OWNER/REPO@REVISION."""
    repo, _, revision = name.partition("@")
    return [NeededFile(f"hub:{repo}/{file}@{revision or 'main'}", licence=licence) for file in files]
