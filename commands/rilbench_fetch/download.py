"""Downloads one published file. Downloads resume; a file gets its final name only after it was verified."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from rilbench.contracts import redact
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.files import NeededFile
from rilbench.contracts.untrusted import open_own
from rilbench.files.hub import etag_fault
from rilbench.files.published import cache, fault_at, fault_of, is_present, place_of

NOTHING_LEFT = 416  # HTTP status: the part is complete already; happens when the size was not known
OnBytes = Callable[[int, int | None], None]  # bytes downloaded, total if known


def get(file: NeededFile, on_bytes: OnBytes) -> None:
    """Download a published file to its place, unless the correct file is already there.

    Raises RilbenchError when the download fails or the content is not the published one. An interrupted download is
    kept next to the place as `.part` and the next call resumes it; wrong content is deleted.
    """
    try:
        locks = cache() / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        # one process at a time appends to a file's part
        with FileLock(locks / hashlib.sha256(str(place_of(file)).encode()).hexdigest()[:16]):
            if fault_of(file) is None:
                return  # another process has downloaded it
            if file.hub:
                _from_hub(file, on_bytes)
            else:
                _fetch(file, complete(file.address), place_of(file), on_bytes, size=file.size)
    except RilbenchError:
        raise
    except Exception as error:  # from the Hub's client, the connection or the disk
        raise RilbenchError(redact.redacted(f"cannot get {file.source}: {_reason(error, file)}")) from None


def _from_hub(file: NeededFile, on_bytes: OnBytes) -> None:
    """Download into the Hub's cache. We write the blob, because the client restarts downloads; the client links it."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    assert file.hub
    repo, name, revision = file.hub
    headers = build_hf_headers()
    url = hf_hub_url(repo, name, revision=revision)
    published = get_hf_file_metadata(url, headers=headers)
    if published.etag is None:
        raise RilbenchError(f"cannot get {file.source}: the Hub returned no hash; try later, or set another source")
    if is_present(file) and (fault_of(file) or etag_fault(place_of(file), published.etag)):
        place_of(file).resolve().unlink()
        place_of(file).unlink(missing_ok=True)
    blob = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "blobs" / published.etag
    if not blob.exists() or etag_fault(blob, published.etag):
        _fetch(file, url, blob, on_bytes, size=published.size, etag=published.etag, headers=headers)
    hf_hub_download(repo, name, revision=revision)


def _fetch(
    file: NeededFile,
    url: str,
    place: Path,
    on_bytes: OnBytes,
    *,
    size: int | None,
    etag: str = "",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Download `url` to `place` through a `.part` file."""
    from huggingface_hub.file_download import http_get

    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.part")
    with _Counted(part, lambda there: on_bytes(there, size)) as stream:
        if size is not None and stream.tell() > size:
            stream.seek(0)
            stream.truncate()
        try:
            http_get(url, stream, resume_size=stream.tell(), headers=dict(headers or {}), expected_size=size)
        except Exception as error:
            if _status(error) != NOTHING_LEFT:
                raise
    fault = fault_at(file, part) or etag_fault(part, etag)
    if fault:
        part.unlink()
        raise RilbenchError(f"{file.source} {fault}: the download from {url} is not the published file and was deleted")
    os.replace(part, place)


class _Counted(io.FileIO):
    """A file opened for appending that reports its length."""

    def __init__(self, path: Path, on_length: Callable[[int], None]) -> None:
        super().__init__(path, "ab", opener=open_own)
        self._on_length = on_length

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        written = super().write(data)
        self._on_length(self.tell())
        return written


def _reason(error: Exception, file: NeededFile) -> str:
    text = " ".join(str(error).split()).partition(" For more information")[0][:300]
    status = _status(error)
    if status in (401, 403) and file.hub:
        return f"{text}. Accept its licence on https://huggingface.co/{file.hub[0]} and log in (HF_TOKEN)"
    kept = "" if status else "; the partial download is kept, and the same command resumes it"
    return f"{type(error).__name__}: {text}{kept}"


def _status(error: Exception) -> int | None:
    """The HTTP status of an error, None if it is not a server's response."""
    return getattr(getattr(error, "response", None), "status_code", None)


def complete(address: str) -> str:
    """The address to request: `token=env:NAME` takes the value from the environment.

    Raises RilbenchError when the variable is not set, or when the address was stored without its secrets.
    """

    def filled(match: re.Match[str]) -> str:
        mark, name, value = match.groups()
        variable = value.removeprefix(redact.ENV) if value.startswith(redact.ENV) else ""
        if value == redact.GONE:
            raise RilbenchError(
                f"{address} was stored without its secrets; give the full address again, or use {name}=env:NAME"
            )
        if variable and not os.environ.get(variable):
            raise RilbenchError(f"{redact.public(address)}: the environment variable {variable} is not set; export it")
        return f"{mark}{name}={os.environ[variable] if variable else value}"

    return redact.PARAMETER.sub(filled, address)
