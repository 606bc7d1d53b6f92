"""Files of tensors in the store; importing this imports torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.store.checksums import KEY, ZEROS, check, checked, reading, seal
from rilbench.store.files import replacing

TRAIN = "Rerun the run's command to have its stage trained again."
RESTART = "Delete it to start the stage again."


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors; `metadata` goes into the header, and is a checksum by default."""
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as part:
        save_file(plain, part, metadata=dict(metadata or {KEY: ZEROS}))
        seal(part)


def load_tensors(path: Path, remedy: str = TRAIN) -> dict[str, Tensor]:
    """Read safetensors. Raises DamagedError if the file is missing or damaged."""
    with reading(path, remedy):
        check(path, remedy)
        return load_file(path)


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write the state of an unfinished stage: a line with the checksum, then torch's format."""
    with replacing(path) as part:
        with part.open("wb") as file:
            file.write(f"{KEY}: {ZEROS}\n".encode())
            buffer = io.BytesIO()
            torch.save(dict(state), buffer)
            file.write(buffer.getbuffer())
        seal(part)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state of an unfinished stage; None if there is none. Tensors and plain values only, no pickled code.

    Raises DamagedError if it is damaged.
    """
    if not path.exists():
        return None
    with reading(path, RESTART):
        _, _, data = checked(path, RESTART, needed=True).partition(b"\n")
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
