"""The Hub's cache (HF_HOME): ids, commits, where a file is, and whether it is the published one."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

INDEX = "model_index.json"  # what a diffusers pipeline on the Hub is made of


def is_hub_id(name: str) -> bool:
    """True if a name has the form OWNER/REPO or OWNER/REPO@REVISION and is not an existing folder."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", name)) and not Path(name).exists()


def hub_place(repo: str, file: str, revision: str) -> Path:
    """The path of a file in the cache, whether it exists or not."""
    return _folder(repo) / "snapshots" / commit_of(repo, revision) / file


def commit_of(repo: str, revision: str) -> str:
    """The commit that the cache has for a branch or tag; otherwise the revision itself."""
    branch = branch_file(repo, revision)
    return branch.read_text().strip() if branch.is_file() else revision


def branch_file(repo: str, revision: str) -> Path:
    """The file in which the cache has the commit of a branch or tag."""
    return _folder(repo) / "refs" / revision


def etag_fault(path: Path, etag: str) -> str | None:
    """Why a file does not match a Hub etag: the sha256 of a large file, git's hash of a small one."""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        kind, found = "sha256", digest(path)
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        kind, found = "git hash", digest(path, "sha1", b"blob %d\0" % path.stat().st_size)
    else:
        return None
    return None if found == etag else f"has {kind} {found}, the Hub says {etag}"


def digest(path: Path, kind: str = "sha256", before: bytes = b"") -> str:
    """The hash of `before` and a file's contents, hexadecimal; read again only after its time or size changed."""
    state = path.stat()
    return _digest(path, kind, before, (state.st_mtime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=4096)
def _digest(path: Path, kind: str, before: bytes, state: tuple[int, int, int]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(kind, before, usedforsecurity=False)).hexdigest()


def _folder(repo: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
