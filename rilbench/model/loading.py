"""A diffusers pipeline from a folder or the Hub, and the device it goes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rilbench.contracts.errors import ConfigError, RilbenchError, reason
from rilbench.files.hub import INDEX, is_hub_id
from rilbench.files.model_path import check_local
from rilbench.files.pipelines import in_cache
from rilbench.files.published import hub_folder, require_published
from rilbench.files.resources import resolve
from rilbench.model.backbones import BACKBONES, Backbone
from rilbench.model.backbones.base import DTYPES
from rilbench.model.config import ModelConfig
from rilbench.model.parts import load_parts


def load_backbone(config: ModelConfig) -> Backbone:
    """The pipeline at `config.path` on `config.device`; ConfigError when it is missing, corrupt or of no known family.

    Weights are read from safetensors only.
    """
    pipeline = load_pipeline(config, DTYPES[config.precision])
    backbone = BACKBONES[type(pipeline).__name__](pipeline, config, device=pick_device(config.device))
    try:
        backbone.sampler  # noqa: B018 - checks that one can be made
    except RilbenchError:
        raise
    except Exception as error:  # diffusers checks settings of a scheduler as it uses them
        raise ConfigError(f"model.path: {config.path!r} cannot be sampled: {reason(error)[:300]}") from error
    return backbone


def load_pipeline(config: ModelConfig, dtype: torch.dtype) -> Any:
    """The same as diffusers' own object, on the CPU."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    path = pipeline_folder(config)
    if is_hub_id(config.path):
        require_published(in_cache(config.path, config.revision or "main"))
    try:
        index = diffusers.DiffusionPipeline.load_config(path)
        name = index["_class_name"]
        if name not in BACKBONES:
            raise ConfigError(f"model.path: {config.path!r} is a {name}; known are {', '.join(BACKBONES)}")
        parts = load_parts(path, index, dtype)
        return getattr(diffusers, name).from_pretrained(path, **(parts | dict(BACKBONES[name].options())))
    except RilbenchError:
        raise
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds
        raise ConfigError(f"model.path: cannot load {config.path!r}: {reason(error)[:300]}") from error


def pipeline_folder(config: ModelConfig) -> Path:
    """The local folder at `config.path`, or the one in the Hub's cache: nothing is downloaded here.

    ConfigError when there is none, with what gets it.
    """
    path = resolve(config.path)
    if is_hub_id(path):
        return hub_folder(f"{path}@{config.revision or 'main'}", [INDEX])
    check_local(config.path)
    return Path(path)


def pick_device(name: str) -> str:
    """`auto` is cuda when there is one; ConfigError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except Exception as error:  # torch raises several kinds for an unknown or absent device
        first = str(error).splitlines()[0]
        raise ConfigError(f"model.device: {name!r} is not available here ({first}); use auto, cpu or cuda") from None
    return name
