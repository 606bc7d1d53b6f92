"""How to make a diffusers folder from a single-file checkpoint; imported only for an error message."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from safetensors import SafetensorError, safe_open

KINDS = {  # beginnings of names of weights in single-file checkpoints
    "conditioner.embedders.1.": "StableDiffusionXLPipeline",
    "model.diffusion_model.joint_blocks.": "StableDiffusion3Pipeline",
    "joint_blocks.": "StableDiffusion3Pipeline",
    "model.diffusion_model.double_blocks.": "FluxPipeline",
    "double_blocks.": "FluxPipeline",
}


def conversion(file: Path) -> str:
    """The command that makes a diffusers folder from a single-file checkpoint."""
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
