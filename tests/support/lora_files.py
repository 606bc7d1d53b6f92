"""LoRA files of a pipeline with random factors, in kohya's and diffusers' names, as other trainers write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

ENCODERS = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
Factors = Mapping[tuple[str, str], tuple[Tensor, Tensor]]  # part and name of a layer: down and up


def factors(pipeline: Any, targets: Mapping[str, Sequence[str]], *, rank: int, seed: int) -> Factors:
    """Random factors of the layers whose names end in one of the targets, by part of the pipeline."""
    generator, made = torch.Generator().manual_seed(seed), {}
    for part, names in targets.items():
        for name, layer in getattr(pipeline, part).named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and any(f".{name}".endswith(f".{end}") for end in names):
                weight = layer.weight
                down = 0.15 * torch.randn(rank, *weight.shape[1:], generator=generator)
                up = torch.randn(len(weight), rank, *[1] * (weight.ndim - 2), generator=generator)
                made[part, name] = (down, up)
        assert any(found == part for found, _ in made), (part, names)
    return made


def save_kohya(file: Path, made: Factors, *, alpha: float) -> Path:
    """As sd-scripts and most web interfaces have it."""
    several, state = any(part == "text_encoder_2" for part, _ in made), {}
    for (part, name), (down, up) in made.items():
        start = ENCODERS.get(part, "lora_unet")
        start = "lora_te" if start == "lora_te1" and not several else start
        inside = f"text_model.{name.removeprefix('text_model.')}" if part in ENCODERS else name
        layer = f"{start}_{inside.replace('.', '_')}"
        state |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}
        state[f"{layer}.alpha"] = torch.tensor(alpha)
    save_file(state, file)
    return file


def save_diffusers(file: Path, made: Factors) -> Path:
    """As `save_lora_weights` of a training script of diffusers writes them: alpha equals the rank."""
    state = {}
    for (part, name), (down, up) in made.items():
        state |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    save_file(state, file)
    return file
