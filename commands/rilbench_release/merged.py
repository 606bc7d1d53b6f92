"""Writes a complete pipeline with a chain of pairs merged into its weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from rilbench.contracts.pair import LoraPair
from rilbench.files.loras import loras_of
from rilbench.model.base_loras import attach
from rilbench.model.config import ModelConfig
from rilbench.model.loading import load_pipeline, pipeline_folder
from rilbench.model.reading import CAPTIONS
from rilbench_release.models import denoiser, hub_id


def write_merged(folder: Path, config: ModelConfig, chain: Sequence[tuple[LoraPair, float]]) -> str:
    """W + sum c_i A_i B_i in a diffusers folder, float32 safetensors, with the base model's LoRAs; everything else is
    unchanged.

    Returns the pipeline's name of the denoiser.
    """
    from diffusers import ConfigMixin

    pipeline = load_pipeline(config, torch.float32)  # lower precision would round the changes away
    attach(pipeline, loras_of(config.lora))
    prefix, network = denoiser(pipeline)
    with torch.no_grad():
        for pair, coefficient in chain:
            for name, a in pair.a.items():
                network.get_submodule(name).weight += coefficient * (a @ pair.b[name])
    for part in (pipeline, *pipeline.components.values()):
        if isinstance(part, ConfigMixin):
            part.register_to_config(_name_or_path=hub_id(config.path) or "")  # not a path of this machine
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    described = pipeline_folder(config) / CAPTIONS
    if described.is_file():
        shutil.copyfile(described, folder / CAPTIONS)
    return prefix
