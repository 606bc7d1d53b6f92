"""Hashes of files and folders by their contents, independent of path, time and neighbouring files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile
from rilbench.files.hub import INDEX, digest
from rilbench.files.pipelines import read_files
from rilbench.files.published import place_of
from rilbench.files.resources import resolve

BESIDE = re.compile(r"\..*|(readme|licen[cs]e|notice|changelog)(\.(md|rst|txt))?|__pycache__|.*\.py[co]", re.I)


def fingerprint(path: str | Path) -> str:
    """The hash of what a run reads of a file, of a diffusers pipeline's folder, or of any other folder.

    Links are followed. Raises ConfigError for a file that cannot be read.
    """
    root = Path(path)
    try:
        if root.is_file():
            return digest(root)
        lines = sorted(f"{name}\0{digest(root / name)}\n" for name in _names(root))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def resolved_fingerprint(path: str) -> str:
    """The fingerprint of a path, a `package:` path or a reference; the setting itself if the file does not exist."""
    try:
        found = Path(resolve(path))
        return fingerprint(found) if found.exists() else path
    except (ConfigError, OSError, ValueError):  # not there, or no name of a file at all
        return path


def published_digest(file: NeededFile) -> str:
    """The hash of an existing file. The Hub's cache names large files by their hash, which is checked on reading."""
    name = place_of(file).resolve().name
    return name if file.hub and re.fullmatch(r"[0-9a-f]{64}", name) else digest(place_of(file))


def walked(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """The files in a folder and, following links, in its subfolders, without hidden files and descriptions."""
    real = folder.resolve()
    if real in above:  # a link that leads back
        return
    for path in sorted(folder.iterdir()):
        if BESIDE.fullmatch(path.name):
            continue
        if path.is_dir():
            yield from walked(path, (*above, real))
        elif path.is_file():
            yield path


def _names(root: Path) -> Iterable[str]:
    if (root / INDEX).is_file():
        try:
            return read_files(root)
        except ConfigError:  # no pipeline: loading says why
            pass
    return [path.relative_to(root).as_posix() for path in walked(root)]
