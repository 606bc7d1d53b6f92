"""The images of an evaluation as one .npy file, written and read a batch at a time: the paper's 10,000 take 8 GB.

Its records are an `image` (3, H, W) and its `checksum` (8), both uint8.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rilbench.store import temporary
from rilbench.store.checksums import damaged, reading
from rilbench.store.files import share, unwritable

BATCH = 64  # images that are checked at a time


class KeptImages:
    """The images of a file; `kept[i:j]` is (j - i, 3, H, W) uint8. Raises DamagedError if they differ from what was
    written."""

    def __init__(self, path: Path, count: int) -> None:
        with reading(path):
            self._records = np.lib.format.open_memmap(path, mode="r")
        if self._records.dtype.names != ("image", "checksum") or self._records.shape != (count,):
            raise damaged(path, f"it does not hold {count} images")
        self.path, self.count = path, count

    def __getitem__(self, part: slice) -> Tensor:
        records = np.array(self._records[part])
        images = torch.from_numpy(np.ascontiguousarray(records["image"]))
        if not np.array_equal(_records(images), records):
            raise damaged(self.path, "an image is not what its checksum says")
        return images

    def check(self) -> None:
        """Read every image once."""
        for start in range(0, self.count, BATCH):
            self[start : min(start + BATCH, self.count)]


@contextmanager
def written(path: Path, count: int) -> Iterator[Callable[[Tensor], None]]:
    """Yields a function that takes the next images (B, 3, H, W) uint8 of `count`.

    The file exists once the block succeeds. Raises RilbenchError if the disk is not writable or too full for all
    images, before the first is written.
    """
    part = temporary.beside(path)
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("wb")

    def append(pixels: Tensor) -> None:
        records = _records(pixels)
        with _disk_errors(path):
            if not file.tell():
                _check_room(path.parent, count, records.itemsize)
                descr = np.lib.format.dtype_to_descr(records.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(records.tobytes())

    try:
        yield append
        with _disk_errors(path):
            file.close()
            share(part)
            os.replace(part, path)
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _records(images: Tensor) -> np.ndarray[Any, Any]:
    """Images (B, 3, H, W) with their checksums."""
    image, checksum = ("image", "u1", images.shape[1:]), ("checksum", "u1", 8)
    records = np.empty(len(images), dtype=[image, checksum])
    records["image"] = images.numpy()
    for record in records:
        record["checksum"] = list(hashlib.sha256(record["image"].data).digest()[:8])
    return records


def _check_room(folder: Path, count: int, size: int) -> None:
    total, free = count * size, shutil.disk_usage(folder).free
    if total > free:
        raise OSError(f"{count} images take {total / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free")


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None
