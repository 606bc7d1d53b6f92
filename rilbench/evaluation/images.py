"""The images of an evaluation as one safetensors file, written a batch at a time: the paper's 10,000 take 8 GB.

Its tensors are `images` (N, 3, H, W) and `checksums` (N, 8), of each image alone, both uint8: neither writing nor
checking holds more than a batch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rilbench.store import temporary
from rilbench.store.checksums import damaged
from rilbench.store.files import share, unwritable

BATCH = 64  # images that are checked at a time


class KeptImages:
    """The images of a file; `kept[i:j]` is (j - i, 3, H, W) uint8. Raises DamagedError if they differ from what was
    written."""

    def __init__(self, path: Path, count: int) -> None:
        try:
            file: Any = safe_open(path, framework="pt")
            self._images, self._sums = file.get_slice("images"), file.get_tensor("checksums")
            shape = self._images.get_shape()
        except (OSError, SafetensorError) as error:
            raise damaged(path, error) from None
        if len(self._sums) != count or shape[0] != count or len(shape) != 4:
            raise damaged(path, f"it holds {shape[0]} images of {count}")
        self.path, self.count = path, count

    def __getitem__(self, part: slice) -> Tensor:
        images: Tensor = self._images[part]
        if _sums(images) != self._sums[part].numpy().tobytes():
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
    writer = _Writer(path, part, count)
    try:
        yield writer.append
        writer.finish()
    finally:
        writer.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _Writer:
    def __init__(self, path: Path, part: Path, count: int) -> None:
        self.path, self.part, self.count = path, part, count
        self.sums = b""
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = part.open("wb")

    def append(self, pixels: Tensor) -> None:
        with _disk_errors(self.path):
            if not self.sums:
                size, free = self.count * pixels[0].numel(), shutil.disk_usage(self.path.parent).free
                if size > free:
                    room = f"{self.count} images take {size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free"
                    raise OSError(room)
                self.file.write(_header(self.count, pixels))
            self.file.write(pixels.contiguous().numpy().data)
        self.sums += _sums(pixels)

    def finish(self) -> None:
        with _disk_errors(self.path):
            self.file.write(self.sums)
            self.file.close()
            share(self.part)
            os.replace(self.part, self.path)

    def close(self) -> None:
        with suppress(OSError):
            self.file.close()


def _sums(images: Tensor) -> bytes:
    """Eight bytes for every image."""
    return b"".join(hashlib.sha256(image.contiguous().numpy().data).digest()[:8] for image in images)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None


def _header(count: int, pixels: Tensor) -> bytes:
    """The start of a safetensors file: the length of a JSON object, padded to 8 bytes, and the object."""
    images = count * pixels[0].numel()
    about: dict[str, Any] = {
        "checksums": {"dtype": "U8", "shape": [count, 8], "data_offsets": [images, images + 8 * count]},
        "images": {"dtype": "U8", "shape": [count, *pixels.shape[1:]], "data_offsets": [0, images]},
    }
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
