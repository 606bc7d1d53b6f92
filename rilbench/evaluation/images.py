"""The images of an evaluation as one safetensors file, written a batch at a time: the paper's 10,000 take 8 GB."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from torch import Tensor

from rilbench.store import unwritable


@contextmanager
def written(path: Path, count: int) -> Iterator[Callable[[Tensor], None]]:
    """Yields what takes the next images (B, 3, H, W) uint8 of `count`; they are the tensor `images` of the file.

    The file is there when the block succeeds. RilbenchError when the disk is full or not writable, before the first
    image is written if it has no room for them all.
    """
    part = path.with_name(f".{path.name}.part")  # one name: what a killed process left is written over
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("wb")
    try:
        yield partial(_append, file, path, count)
        with _told(path):
            file.close()
            os.replace(part, path)
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None


def _append(file: IO[bytes], path: Path, count: int, pixels: Tensor) -> None:
    with _told(path):
        if not file.tell():
            size, free = count * pixels[0].numel(), shutil.disk_usage(path.parent).free
            if size > free:
                raise OSError(f"{count} images take {size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free")
            file.write(_header(count, pixels))
        file.write(pixels.contiguous().numpy().data)


def _header(count: int, pixels: Tensor) -> bytes:
    """What safetensors begins with: the length of a JSON object, padded to 8 bytes, and that."""
    shape = [count, *pixels.shape[1:]]
    about = {"dtype": "U8", "shape": shape, "data_offsets": [0, count * pixels[0].numel()]}
    text = json.dumps({"images": about}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
