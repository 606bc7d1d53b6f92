"""Writes a chain of pairs as a single LoRA, in the formats of diffusers, PEFT and web interfaces.

Concatenating the factors of T pairs of rank r gives one pair of rank T r with the same weight change, exactly; alpha
equals the rank everywhere, so that no reader scales it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.files.loras import DIFFUSERS
from rilbench.store.layout import StageFiles
from rilbench.store.tensors import save_tensors


def rank_of(pair: LoraPair) -> int:
    """The rank of a pair."""
    return next(iter(pair.b.values())).shape[0]


def write_diffusers(folder: Path, pair: LoraPair, *, prefix: str, targets: Sequence[str], name: str) -> None:
    """The file for `pipe.load_lora_weights(folder)` and, for a UNet, `NAME-webui.safetensors` next to it.

    prefix: the pipeline's name of the network, unet or transformer. Web interfaces read kohya's names for UNets; for
    transformers those name layers that diffusers splits, and the interfaces that run these models read the first file.
    """
    rank = rank_of(pair)
    config = {"r": rank, "lora_alpha": rank, "target_modules": list(targets)}
    metadata = {"lora_adapter_metadata": json.dumps({f"{prefix}.{key}": value for key, value in config.items()})}
    state = pair.state(prefix)
    save_tensors(folder / DIFFUSERS, state, metadata={"format": "pt"} | metadata)
    if prefix == "unet":
        write_kohya(folder, state, name=name, rank=str(rank))


def write_kohya(folder: Path, state: Mapping[str, Tensor], *, name: str, rank: str) -> None:
    """`NAME-webui.safetensors`: the tensors of the diffusers file under kohya's names.

    All layers have the same alpha, whatever their ranks, because diffusers does not match several with their layers.
    """
    from diffusers.utils import convert_state_dict_to_kohya

    kohya = convert_state_dict_to_kohya(dict(state))
    alphas = {key: float(value) for key, value in kohya.items() if key.endswith(".alpha")}
    largest = max(alphas.values())
    for key, alpha in alphas.items():
        if alpha != largest:  # the rank
            kohya[key] = torch.full_like(kohya[key], largest)
            up = key.replace(".alpha", ".lora_up.weight")
            kohya[up] = kohya[up] * (alpha / largest)
    metadata = {"ss_network_module": "networks.lora", "ss_network_dim": rank, "ss_network_alpha": rank}
    save_tensors(folder / f"{name}-webui.safetensors", kohya, metadata=metadata)


def write_peft(folder: Path, pair: LoraPair, *, targets: Sequence[str], base: str) -> None:
    """The files for `peft.PeftModel.from_pretrained(pipe.unet, folder)`; base: the base model named in the card."""
    from peft import LoraConfig

    rank = rank_of(pair)
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(targets), base_model_name_or_path=base, inference_mode=True
    )
    config.save_pretrained(str(folder))
    save_tensors(folder / StageFiles.WEIGHTS, pair.state("base_model.model"))
