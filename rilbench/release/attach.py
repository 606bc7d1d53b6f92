"""A LoRA made elsewhere on a pipeline: diffusers', PEFT's and kohya's files, by their own converters.

It stays a branch beside the weights, as `pipe.load_lora_weights` leaves it. Every layer it holds must find its place,
or it is refused: a LoRA that is half loaded gives numbers of no model at all.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from rilbench.errors import ConfigError, UsageError, reason
from rilbench.libraries import silent
from rilbench.release.models import denoiser

NAME = "rilbench"  # of the adapter on the pipeline
CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Lora:
    """A LoRA's file or folder, and the factor of its weight change."""

    path: Path
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """`PATH` or `PATH:SCALE`; UsageError when there is nothing, or nothing that can be a LoRA."""
        path, _, scale = text.rpartition(":")
        lora = cls(Path(text))
        if path and not lora.path.exists():
            try:
                lora = cls(Path(path), float(scale))
            except ValueError:
                raise UsageError(f"--lora {text}: {scale!r} is no scale, and there is no file of that name") from None
        if not lora.path.exists():
            raise UsageError(f"--lora {text}: there is no file or folder at {lora.path}; download it first")
        lora.file  # noqa: B018 - checks it
        return lora

    @property
    def file(self) -> Path:
        """The safetensors file; UsageError when there is none, or no telling which."""
        if self.path.is_file():
            found = [self.path]
        else:
            known = [self.path / n for n in ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")]
            found = [f for f in known if f.exists()][:1] or sorted(self.path.glob("*.safetensors"))
        if len(found) != 1:
            raise UsageError(f"{self.path} holds {len(found)} safetensors files; name the one that is the LoRA")
        if found[0].suffix != ".safetensors":
            raise UsageError(f"{found[0]} is no safetensors file; others may run code when they are read")
        return found[0]


def attach(pipeline: Any, lora: Lora) -> None:
    """Load a LoRA into a pipeline's denoiser and text encoders.

    ConfigError, naming layers, when the file is damaged, of a kind diffusers does not know, or of another model.
    """
    layers = _layers(lora.file)
    try:
        with silent(), warnings.catch_warnings(action="ignore"):
            _load(pipeline, lora)
    except Exception as error:  # diffusers, peft and torch raise a dozen kinds
        raise ConfigError(f"cannot use the LoRA {lora.file}: {reason(error)[:500]}") from error
    _check(layers, pipeline, lora)
    pipeline.set_adapters([NAME], [lora.scale])


def _load(pipeline: Any, lora: Lora) -> None:
    if not (lora.path / CONFIG).exists():
        pipeline.load_lora_weights(str(lora.file), adapter_name=NAME, use_safetensors=True)
        return
    from peft import PeftConfig

    prefix, network = denoiser(pipeline)
    config = PeftConfig.from_pretrained(str(lora.path)).to_dict()
    state = {f"{prefix}.{_plain(key, prefix)}": value for key, value in load_file(lora.file).items()}
    metadata = {f"{prefix}.{key}": value for key, value in config.items()}
    network.load_lora_adapter(state, prefix=prefix, metadata=metadata, adapter_name=NAME)


def _plain(key: str, prefix: str) -> str:
    """The key of PEFT's file without the wrapper's name, and without the network's, which rilbench's store writes."""
    return key.removeprefix("base_model.model.").removeprefix(f"{prefix}.")


def _layers(file: Path) -> set[str]:
    """The layers a file has weights for, under its own names."""
    try:
        with safe_open(file, framework="pt") as tensors:
            keys = list(tensors.keys())
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"cannot read the LoRA {file}: {error}; download it again") from None
    if any("dora_scale" in key for key in keys):
        raise ConfigError(f"{file} is a DoRA in kohya's format, which diffusers reads without its magnitudes")
    return {re.split(r"[._]lora[._]", key)[0] for key in keys if not key.endswith(".alpha")}


def _attached(pipeline: Any) -> set[str]:
    """The layers of the pipeline that have an adapter now."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    return {
        f"{name}.{inside}"
        for name, part in parts.items()
        for inside, layer in part.named_modules()
        if isinstance(layer, BaseTunerLayer)
    }


def _check(layers: set[str], pipeline: Any, lora: Lora) -> None:
    """ConfigError when a layer has no place. Formats that name layers as the pipeline does are compared by name; in the
    others, where a converter renames layers, their number decides and the names are for the message."""
    attached, network = _attached(pipeline), denoiser(pipeline)[0]
    places = {_name(layer, network) for layer in attached}
    lost = sorted(layer for layer in layers if _name(layer, network) not in places)
    renamed = any(layer.startswith("lora_") or ".processor." in layer for layer in layers)
    if len(attached) >= len(layers) if renamed else not lost:
        return
    raise ConfigError(
        f"{len(layers)} layers have weights in the LoRA {lora.file}, and not all have a place in the model: "
        f"not {', '.join(lost[:5])}{', ...' if len(lost) > 5 else ''}. Was it made for another model?"
    )


def _name(layer: str, network: str) -> str:
    """A layer's name as all formats would have it, so that they can be compared."""
    name = layer.replace("base_model.model.", f"{network}.").replace(".processor.", ".").replace(".", "_")
    name = re.sub(r"^lora_te1?_", "text_encoder_", name).replace("lora_te2_", "text_encoder_2_")
    return name.removeprefix("lora_").replace("_text_model_", "_")
