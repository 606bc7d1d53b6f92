"""Reads a folder of images: which files are images, and how they are converted to 8-bit RGB.

* Folders are searched recursively, linked ones too, each once. Hidden files are left out; other files that are no
  images are counted in a warning. A format that cannot be read is an error.
* Images are rotated according to their EXIF orientation.
* 16-bit values keep their high byte. Images with 32-bit values are refused because their range is unknown.
* What is transparent shows white.
* Other colour models (grey, palette, CMYK, YCbCr) are converted by Pillow, without colour profiles.
* Of a file with several images (GIF, TIFF) the first one is used.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from rilbench.contracts.errors import UsageError
from rilbench.store.picture_files import FORMATS, opened

UNREADABLE = {  # suffixes of images that Pillow cannot read
    *(".heic", ".heif", ".jxl", ".svg", ".psd", ".exr", ".hdr", ".eps", ".pdf", ".ico", ".xcf", ".jxr", ".avif"),
    *(".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".npy", ".npz"),
}
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")


def images_in(folder: Path, warn: Callable[[str], None] = lambda text: None) -> list[Path]:
    """The images in a folder (recursively), by name; `warn` receives other files.

    Raises UsageError unless there are two, for images of an unreadable format, and if there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    known, found, other = _suffixes(), list[Path](), list[Path]()
    for file in _files(folder):
        (found if file.suffix.lower() in known else other).append(file)
    if unreadable := [file for file in other if file.suffix.lower() in UNREADABLE]:
        kinds = Counter(file.suffix.lower() for file in unreadable)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        raise UsageError(
            f"{folder} contains images that cannot be read: {counted}, such as {min(unreadable)}; save them as PNG or "
            "remove them"
        )
    if other:
        warn(f"{folder}: skipped {len(other)} files that are no images, such as {min(other).relative_to(folder)}")
    if len(found) < 2:
        raise UsageError(f"{folder} contains {len(found)} images; give a folder with at least two")
    return sorted(found)


def read_rgb(file: Path) -> Image.Image:
    """An image in the mode RGB, by the rules above; raises ConfigError if it cannot be read."""
    with opened(file) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode in DEEP:
            return Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8)).convert("RGB")
        if turned.mode in ("I", "F"):
            raise ValueError(f"its pixels are 32-bit values (mode {turned.mode}); save it with 8 bits")
        if not turned.has_transparency_data:
            return turned.convert("RGB")
        white = Image.new("RGBA", turned.size, "white")
        return Image.alpha_composite(white, turned.convert("RGBA")).convert("RGB")


def _files(folder: Path) -> Iterator[Path]:
    """All files that are not hidden, linked folders included, no folder twice."""
    seen = set[str]()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                yield _checked(Path(place, name))


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise UsageError(f"{file} is a broken link or not a regular file; remove it")
    return file


def _unreadable(error: OSError) -> None:
    raise UsageError(f"cannot read the folder {error.filename}: {error.strerror}")


def _suffixes() -> frozenset[str]:
    """The suffixes of image files, in lower case."""
    Image.init()
    return frozenset(
        end for end, kind in Image.registered_extensions().items() if kind in FORMATS and kind in Image.OPEN
    )
