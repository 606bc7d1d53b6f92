"""The images of an unfinished evaluation, from which a killed one resumes: the paper's 10,000 take hours to draw.

They are written after every `SECONDS` of work, so a short evaluation writes none. Metrics receive them again as before,
in 8 bits, in the same batches and in the same order in memory, so the numbers are the same bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from rilbench.contracts.errors import DamagedError, RilbenchError
from rilbench.store import temporary
from rilbench.store.tensors import load_tensors, save_tensors

SECONDS = 30.0
# of the tensor in a file; the order in memory decides how sums are rounded
NAME, LAST = "images", "images_channels_last"


class Unfinished:
    """A file is named by its first image and holds whole batches; those of another batch size are apart."""

    def __init__(self, folder: Path, *, batch_size: int, warn: Callable[[str], None]) -> None:
        self.folder, self.place, self.warn = folder, folder / str(batch_size), warn
        self._read, self._start = torch.empty(0), 0  # the images of the file that is read, and the first one's number
        self._drawn, self._first = list[Tensor](), 0  # not written yet, one after the other from this number
        self._since = time.monotonic()
        self._full = False  # the disk

    def __call__(self, first: int, count: int, draw: Callable[[], Tensor]) -> Tensor:
        """The images (count, 3, H, W) uint8 from number `first` on, stored or drawn."""
        stored = self._stored(first, count)
        if self._drawn and (stored is not None or time.monotonic() - self._since >= SECONDS):
            self.flush()
        if stored is not None:
            return stored
        images = draw()
        if not self._full:
            self._first = self._first if self._drawn else first
            self._drawn.append(images)
        return images

    def flush(self) -> None:
        """Write the images that are not written yet. A full disk is a warning."""
        images, self._drawn, self._since = self._drawn, [], time.monotonic()
        try:
            save_tensors(self._path(self._first), _packed(torch.cat(images)))
        except RilbenchError as error:
            self._full = True
            self.warn(f"{error} If this evaluation is interrupted, it starts again")

    def remove(self) -> None:
        """Delete all files: the evaluation is finished."""
        temporary.remove(self.folder)

    def _stored(self, first: int, count: int) -> Tensor | None:
        row = first - self._start
        if not 0 <= row <= len(self._read) - count and self._path(first).exists():
            try:
                self._read, self._start, row = _unpacked(load_tensors(self._path(first))), first, 0
            except DamagedError:
                return None
        return self._read[row : row + count] if 0 <= row <= len(self._read) - count else None

    def _path(self, first: int) -> Path:
        return self.place / f"{first:08}.safetensors"


def _packed(images: Tensor) -> dict[str, Tensor]:
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return {LAST: images.permute(0, 2, 3, 1)} if last else {NAME: images}


def _unpacked(tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors[LAST].permute(0, 3, 1, 2) if LAST in tensors else tensors[NAME]
