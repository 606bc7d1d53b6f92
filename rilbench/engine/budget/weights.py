"""Whether a model's weights fit onto the device, checked before they are loaded."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from rilbench.contracts.errors import ConfigError
from rilbench.engine.budget import available
from rilbench.files.loras import loras_of
from rilbench.files.pipelines import read_files
from rilbench.model.backbones.base import DTYPES
from rilbench.model.config import ModelConfig
from rilbench.model.loading import pipeline_folder


def check_weights(config: ModelConfig, device: str) -> None:
    """Raises ConfigError, with the settings that would make them fit, if they do not fit."""
    size, free = weight_bytes(config), available.free_bytes(device)
    if size > free:
        remedy = " or ".join(_remedies(config, device)) or f"free memory of {device} or use a smaller model"
        needs = f"the weights of {config.path} take {size / 1e9:.1f} GB in {config.precision}"
        raise ConfigError(
            f"{needs}, {device} has {free / 1e9:.1f} GB free: {remedy}. check_memory=false skips this check."
        )


def weight_bytes(config: ModelConfig) -> int:
    """The size of the pipeline's weights once loaded, from the headers of its files, and of LoRAs in half precision.

    0 for a pipeline that cannot be read: loading it reports why.
    """
    folder = pipeline_folder(config)
    try:
        files = [name for name in read_files(folder) if name.endswith(".safetensors")]
        branches = [] if config.precision == "fp32" else [lora.file for lora in loras_of(config.lora)]
        size = sum(_numbers(folder / name) * _width(config, name.split("/")[0]) for name in files)
        return size + sum(_numbers(file) * DTYPES[config.precision].itemsize for file in branches)
    except (ConfigError, OSError, SafetensorError):
        return 0


def _numbers(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return sum(prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


def _width(config: ModelConfig, part: str) -> int:
    """Bytes of one number of a part."""
    return DTYPES[config.vae_precision if part == "vae" else config.precision].itemsize


def _remedies(config: ModelConfig, device: str) -> list[str]:
    """Settings with which the weights fit, each sufficient, the smallest change first; empty if there are none."""
    others = [*(f"cuda:{i}" for i in range(torch.cuda.device_count())), "cpu"]
    found: dict[int, list[str]] = {}
    for precision, place in product(dict.fromkeys((config.precision, "bf16")), dict.fromkeys((device, *others))):
        if weight_bytes(replace(config, precision=precision)) <= available.free_bytes(place):
            changes = [f"model.precision={precision}"] if precision != config.precision else []
            changes += [f"model.device={place}"] if place != device else []
            found.setdefault(len(changes), []).append("set " + " ".join(changes))
    return found[min(found)] if found else []
