"""Files of finished and unfinished work. Everything is written to a temporary name, then renamed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.errors import ConfigError, RilbenchError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes it when the block succeeds.

    RilbenchError when the disk is full or not writable; then `path` is what it was.
    """
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RilbenchError(f"cannot write {path}: {error}. Free the disk or choose another store=.") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or none."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON; NaN and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=1))


def read_json(path: Path) -> Any:
    """Read JSON; ConfigError when the file is not."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"cannot read {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}. Delete its folder to have it made again.") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors."""
    with replacing(path) as part:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part)


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


def finite(value: Any) -> Any:
    """The same JSON-able value with NaN and infinities as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
