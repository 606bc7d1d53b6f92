"""A pair on disk, in PEFT's format: `adapter_model.safetensors` and `adapter_config.json`."""

from __future__ import annotations

from pathlib import Path

from rilbench.config import AdapterConfig
from rilbench.model.adapters import LoraPair
from rilbench.store import write_json
from rilbench.tensors import load_tensors, save_tensors

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def save_pair(folder: Path, pair: LoraPair, config: AdapterConfig, prefix: str) -> None:
    """Write the pair so that `peft` loads it as a LoRA of the denoiser, which the pipeline calls `prefix`."""
    values = {"peft_type": "LORA", "r": config.rank, "lora_alpha": config.rank, "bias": "none"}
    write_json(folder / CONFIG, values | {"target_modules": list(config.targets)})
    save_tensors(folder / WEIGHTS, pair.state(prefix))


def load_pair(folder: Path, device: str = "cpu") -> LoraPair:
    """Read a pair; ConfigError when it is missing or corrupt."""
    return LoraPair.from_state(load_tensors(folder / WEIGHTS)).to(device)


def has_pair(folder: Path) -> bool:
    return (folder / WEIGHTS).exists()
