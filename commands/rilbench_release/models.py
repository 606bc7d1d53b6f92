"""The denoiser of a pipeline and its name in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import safe_open

from rilbench.contracts.errors import ConfigError
from rilbench.files.resources import resolve
from rilbench.model.config import ModelConfig
from rilbench.model.loading import pipeline_folder
from rilbench.store.layout import StageFiles

DENOISERS = ("unet", "transformer")  # names of the denoiser in pipelines


def hub_id(path: str) -> str | None:
    """A model path as a Hub id; None for a local path."""
    return None if path.startswith("package:") or Path(resolve(path)).exists() else path


def prefix_of(folder: Path) -> str:
    """The denoiser of a pair on disk, as pipelines name it: unet or transformer."""
    weights = StageFiles(folder).weights
    with safe_open(weights, framework="pt") as file:
        prefix = str(next(iter(file.keys()), "")).partition(".")[0]
    if prefix not in DENOISERS:
        raise ConfigError(f"{weights} does not contain a pair: no key starts with {' or '.join(DENOISERS)}")
    return prefix


def denoiser(pipeline: Any) -> tuple[str, Any]:
    """Name and module of a pipeline's denoiser; raises ConfigError if it has none."""
    for name in DENOISERS:
        if (part := pipeline.components.get(name)) is not None:
            return name, part
    raise ConfigError(f"a {type(pipeline).__name__} has no {' or '.join(DENOISERS)}, so there is nothing to adapt")


def scheduler_of(config: ModelConfig, prefix: str) -> str | None:
    """The diffusers scheduler that samples like rilbench; None if it is the pipeline's own."""
    from diffusers import DiffusionPipeline

    if prefix != "unet":
        return None
    if config.sampler == "lcm":
        return "LCMScheduler"
    try:
        own = DiffusionPipeline.load_config(pipeline_folder(config))["scheduler"][1]
    except (OSError, LookupError, ConfigError):  # it is not on this machine
        own = None
    return None if config.sampler == "auto" and own == "LCMScheduler" else "DDIMScheduler"
