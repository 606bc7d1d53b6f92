"""A pair on disk, in PEFT's format: `adapter_model.safetensors` and `adapter_config.json`."""

from __future__ import annotations

import json
from pathlib import Path

from rilbench.contracts.errors import DamagedError
from rilbench.contracts.pair import LoraPair
from rilbench.model.config import AdapterConfig
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, write_text
from rilbench.store.layout import StageFiles
from rilbench.store.tensors import TRAIN, load_tensors, save_tensors


def save_pair(folder: Path, pair: LoraPair, config: AdapterConfig, prefix: str) -> None:
    """Write the pair so that `peft` loads it as a LoRA of the denoiser, which the pipeline calls `prefix`."""
    save_config(folder, config)
    save_tensors(StageFiles(folder).weights, pair.state(prefix))


def save_config(folder: Path, config: AdapterConfig) -> None:
    """Write the configuration that PEFT reads, unless it exists; rilbench reads the weights only."""
    if not has_config(folder):
        values = {"peft_type": "LORA", "r": config.rank, "lora_alpha": config.rank, "bias": "none"}
        values["target_modules"] = list(config.targets)
        write_text(StageFiles(folder).adapter, json.dumps(values, indent=1))  # PEFT warns of a checksum


def has_config(folder: Path) -> bool:
    """True if PEFT's configuration is next to the weights."""
    try:
        return "target_modules" in read_json(StageFiles(folder).adapter, like={"r": int})
    except DamagedError:
        return False


def load_pair(folder: Path, device: str = "cpu") -> LoraPair:
    """Read a pair. Raises DamagedError if it is missing or damaged."""
    state = load_tensors(StageFiles(folder).weights)
    pair = LoraPair.from_state(state)
    if not state or pair.a.keys() != pair.b.keys():
        raise damaged(StageFiles(folder).weights, "it contains no pair", TRAIN)
    return pair.to(device)


def has_pair(folder: Path) -> bool:
    """True if a stage is trained; the content of the file is checked on reading."""
    return StageFiles(folder).weights.exists()


def why_no_pair(folder: Path) -> str:
    """What is wrong with the pair of a trained stage; empty if it is usable."""
    try:
        load_pair(folder)
    except DamagedError as error:
        return str(error)
    return ""
