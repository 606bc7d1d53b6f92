"""A diffusers pipeline from a folder or the Hub, and the device it goes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rilbench.config import ModelConfig
from rilbench.errors import ConfigError
from rilbench.model.backbones import BACKBONES, Backbone
from rilbench.model.backbones.base import DTYPES
from rilbench.remote import INDEX, hub_folder, is_hub_id
from rilbench.resources import resolve


def load_backbone(config: ModelConfig) -> Backbone:
    """The pipeline at `config.path` on `config.device`; ConfigError when it is missing, corrupt or of no known family.

    Weights are read from safetensors only.
    """
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    path = pipeline_folder(config)
    try:
        name = diffusers.DiffusionPipeline.load_config(path)["_class_name"]
        family = BACKBONES.get(name)
        pipeline = family and _pipeline(name, path, config, **family.options())
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model.path: cannot load {config.path!r}: {type(error).__name__}: {reason}") from error
    if family is None:
        raise ConfigError(f"model.path: {config.path!r} is a {name}; known are {', '.join(BACKBONES)}")
    return family(pipeline, config, device=pick_device(config.device))


def pipeline_folder(config: ModelConfig) -> Path:
    """The local folder at `config.path`, or the one in the Hub's cache: nothing is downloaded here.

    ConfigError when there is none, with what gets it.
    """
    path = resolve(config.path)
    if is_hub_id(path):
        return hub_folder(f"{path}@{config.revision or 'main'}", [INDEX])
    if not Path(path).exists():
        raise ConfigError(f"model.path: no folder at {config.path!r}")
    return Path(path)


def _pipeline(name: str, path: Path, config: ModelConfig, **options: Any) -> Any:
    import diffusers

    return getattr(diffusers, name).from_pretrained(
        path, dtype=DTYPES[config.precision], use_safetensors=True, **options
    )


def pick_device(name: str) -> str:
    """`auto` is cuda when there is one; ConfigError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except Exception as error:  # torch raises several kinds for an unknown or absent device
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.device: {name!r} is not available here ({reason}); use auto, cpu or cuda") from None
    return name
