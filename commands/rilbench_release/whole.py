"""The trained pairs, and the base model's LoRAs, as a single LoRA whose layers may have different ranks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.errors import UsageError
from rilbench.contracts.pair import LoraPair
from rilbench.files.loras import DIFFUSERS, loras_of
from rilbench.model.base_loras import factors_of
from rilbench.model.config import ModelConfig
from rilbench.model.loading import load_pipeline
from rilbench.model.lora_file import Factors
from rilbench.store.layout import StageFiles
from rilbench.store.tensors import save_tensors
from rilbench_release.lora import write_kohya

Layers = Mapping[str, Factors]  # by the names of part and layer: unet.mid_block...


def layers_of(pair: LoraPair, prefix: str, base: ModelConfig | None = None) -> dict[str, Factors]:
    """The factors of every layer that the pair, or a LoRA of the base model, changes; the sum is exact.

    Raises UsageError for a layer of a part that diffusers loads no LoRA for.
    """
    summands = _of_base(base) if base else {}
    for name, a in pair.a.items():
        summands.setdefault(f"{prefix}.{name}", []).append(Factors(pair.b[name], a))
    return {name: _summed(factors) for name, factors in sorted(summands.items())}


def _of_base(config: ModelConfig) -> dict[str, list[Factors]]:
    pipeline: Any = load_pipeline(config, torch.float32)
    summands: dict[str, list[Factors]] = {}
    for lora, layers in factors_of(pipeline, loras_of(config.lora)):
        for name, _, (down, up) in layers:
            part = name.partition(".")[0]
            if part not in pipeline._lora_loadable_modules:
                raise UsageError(f"--with-base-lora: diffusers loads no LoRA of {part}, which {lora.place} changes")
            summands.setdefault(name, []).append(Factors(down, lora.scale * up))
    return summands


def _summed(factors: list[Factors]) -> Factors:
    downs, ups = zip(*factors, strict=True)
    return Factors(torch.cat(downs, dim=0), torch.cat(ups, dim=1))


def largest_rank(layers: Layers) -> int:
    """The rank of the layer with most."""
    return max(len(factors.down) for factors in layers.values())


def write_diffusers(folder: Path, layers: Layers, *, prefix: str, name: str) -> None:
    """The files of `lora.write_diffusers`. Without alphas every layer has the factor 1, whatever its rank."""
    state = _state(layers)
    save_tensors(folder / DIFFUSERS, state, metadata={"format": "pt"})
    if prefix == "unet":
        write_kohya(folder, state, name=name, rank="Dynamic")


def write_peft(folder: Path, layers: Layers, *, prefix: str, base: str) -> None:
    """The files of `lora.write_peft`. Raises UsageError for layers of text encoders, which PEFT loads apart."""
    from peft import LoraConfig

    if other := sorted({name.partition(".")[0] for name in layers} - {prefix}):
        raise UsageError(
            f"--with-base-lora: the LoRA has layers of {', '.join(other)}; use --format diffusers or merged"
        )
    ranks = {re.escape(name.removeprefix(f"{prefix}.")): len(factors.down) for name, factors in layers.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {f"^{name}": rank for name, rank in ranks.items() if rank != usual}
    config = LoraConfig(
        r=usual,
        lora_alpha=usual,
        rank_pattern=others,
        alpha_pattern=dict(others),
        target_modules="|".join(ranks),
        base_model_name_or_path=base,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    state = {f"base_model.model.{name.removeprefix(f'{prefix}.')}": value for name, value in _state(layers).items()}
    save_tensors(folder / StageFiles.WEIGHTS, state)


def _state(layers: Layers) -> dict[str, Tensor]:
    named = {f"{name}.lora_A.weight": factors.down for name, factors in layers.items()}
    named |= {f"{name}.lora_B.weight": factors.up for name, factors in layers.items()}
    return {name: value.detach().contiguous() for name, value in named.items()}
