"""Files of tensors, written and read like everything in the store; importing this imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.errors import ConfigError
from rilbench.store import replacing


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors; `metadata` goes into the header."""
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as part:
        save_file(plain, part, metadata=dict(metadata) if metadata else None)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors; ConfigError when the file is missing, cut or corrupt."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Delete its folder to have the stage trained again.") from None


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write the state of an unfinished stage."""
    with replacing(path) as part:
        torch.save(dict(state), part)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state of an unfinished stage; None when there is none. Tensors and plain values only, no pickled code."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(f"cannot read {path}: {error}. Delete it to start the stage again.") from None
    return state
