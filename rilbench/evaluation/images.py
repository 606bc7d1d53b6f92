"""The images of an evaluation as safetensors, written and read one batch at a time: the paper's 10,000 take 8 GB."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from rilbench.store import temporary
from rilbench.store.checksums import KEY, ZEROS, check, damaged, reading, seal
from rilbench.store.files import replacing, unwritable

NAME = "images"  # of the tensor in the file


class KeptImages:
    """The images of a file; `kept[i:j]` is (j - i, 3, H, W) uint8. Raises DamagedError unless they are `count` images
    and unchanged."""

    def __init__(self, path: Path, count: int) -> None:
        with reading(path):
            check(path)
            self._images = safe_open(path, framework="pt").get_slice(NAME)  # type: ignore[no-untyped-call]
        if self._images.get_shape()[0] != count:
            raise damaged(path, f"it does not contain {count} images")

    def __getitem__(self, part: slice) -> Tensor:
        images: Tensor = self._images[part]
        return images


@contextmanager
def written(path: Path, count: int) -> Iterator[Callable[[Tensor], None]]:
    """Yields a function that takes the next images (B, 3, H, W) uint8 of `count`.

    The file exists once the block succeeds. The function raises RilbenchError if the disk is not writable or too full
    for all images, before the first is written.
    """
    part = temporary.beside(path)

    def append(pixels: Tensor) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab") as file:
                if not file.tell():
                    file.write(_header(path.parent, (count, *pixels.shape[1:])))
                file.write(pixels.contiguous().numpy().tobytes())
        except OSError as error:
            raise unwritable(path, error) from None

    try:
        yield append
        with replacing(path) as whole:
            part.replace(whole)
            seal(whole)
    finally:
        temporary.remove(part)


def _header(folder: Path, shape: tuple[int, ...]) -> bytes:
    """How the file begins; OSError if the disk has no room for the rest."""
    size, free = math.prod(shape), shutil.disk_usage(folder).free
    if size > free:
        raise OSError(f"{shape[0]} images take {size / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free")
    values = {"__metadata__": {KEY: ZEROS}, NAME: {"dtype": "U8", "shape": shape, "data_offsets": [0, size]}}
    text = json.dumps(values, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text
