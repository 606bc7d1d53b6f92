"""What `model.path` names on this disk: a diffusers folder, or an error with the remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rilbench.contracts.errors import ConfigError
from rilbench.files.hub import INDEX, is_hub_id
from rilbench.files.resources import resolve

CHECKPOINTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft")
KINDS: Mapping[str, str] = {  # beginnings of names of weights in single-file checkpoints
    "conditioner.embedders.1.": "StableDiffusionXLPipeline",
    "model.diffusion_model.joint_blocks.": "StableDiffusion3Pipeline",
    "joint_blocks.": "StableDiffusion3Pipeline",
    "model.diffusion_model.double_blocks.": "FluxPipeline",
    "double_blocks.": "FluxPipeline",
}


def check_local(path: str) -> None:
    """Raises ConfigError unless the path is a Hub id or a folder with the model_index.json of a pipeline."""
    place = Path(resolve(path))
    if is_hub_id(str(place)):
        return
    if not place.exists():
        raise ConfigError(f"model.path: no folder at {path!r}")
    if place.is_file():
        raise ConfigError(f"model.path: {path!r} is a file, not a diffusers folder; {_conversion(place)}")
    if (place / INDEX).is_file():
        return
    files = sorted(file for file in place.iterdir() if file.suffix in CHECKPOINTS)
    remedy = _conversion(files[0]) if files else "name the folder that `save_pretrained` of a pipeline wrote"
    raise ConfigError(f"model.path: the folder {path!r} has no {INDEX}, so it is not a diffusers pipeline; {remedy}")


def as_hub_id(path: str) -> str:
    """The message for a Hub id whose files are missing: it may have been meant as a path."""
    return f"model.path: there is no folder {path!r} here, so it is read as the id of a repository on the Hub"


def _conversion(file: Path) -> str:
    """The command that makes a diffusers folder of a single-file checkpoint."""
    folder = str(file.with_suffix("")) + "-diffusers"
    kind = _kind(file)
    code = f"from diffusers import {kind}; {kind}.from_single_file({str(file)!r}).save_pretrained({folder!r})"
    quoted = f'"{code}"' if re.fullmatch(r"[\w\s./;,()'-]+", code) else shlex.quote(code)
    return f"convert it with: python -c {quoted}; then use model.path={shlex.quote(folder)}"


def _kind(file: Path) -> str:
    """The class of diffusers that reads a checkpoint, by the names of its weights."""
    try:
        with safe_open(file, framework="numpy") as tensors:
            names = list(tensors.keys())
    except (OSError, SafetensorError):
        names = []
    found = (kind for start, kind in KINDS.items() if any(name.startswith(start) for name in names))
    return next(found, "StableDiffusionPipeline")
