"""Attaches a LoRA file (diffusers, PEFT or kohya) to a pipeline.

The LoRA is a branch parallel to the weights. Every tensor of the file must match a layer, or the file is refused: the
results of a partly loaded LoRA would be meaningless. diffusers' converters rename foreign layer names.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.model.libraries import silent
from rilbench.store.layout import StageFiles
from rilbench_release.lora_file import Factors, LoraFile
from rilbench_release.models import denoiser

SHOWN = 5  # layers in a message
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
RENAMED = {
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "to_out": "out_proj",
}  # in old text encoders


@dataclass(frozen=True)
class Lora:
    """The file or folder of a LoRA, and the factor of its weight change."""

    path: Path
    scale: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """Parse `PATH` or `PATH:SCALE`; raises UsageError when it is missing or cannot be a LoRA."""
        path, _, scale = text.rpartition(":")
        lora = cls(Path(text))
        if path and not lora.path.exists():
            try:
                lora = cls(Path(path), float(scale))
            except ValueError:
                raise UsageError(f"--lora {text}: {scale!r} is not a number, and no file has this name") from None
        if not math.isfinite(lora.scale):
            raise UsageError(f"--lora {text}: the scale {scale!r} is not a finite number")
        if not lora.path.exists():
            raise UsageError(f"--lora {text}: there is no file or folder at {lora.path}; download it first")
        lora.file  # noqa: B018 - checks it
        return lora

    @property
    def file(self) -> Path:
        """The safetensors file; raises UsageError unless there is exactly one."""
        if self.path.is_file():
            found = [self.path]
        else:
            known = [self.path / n for n in (StageFiles.WEIGHTS, "pytorch_lora_weights.safetensors")]
            found = [f for f in known if f.exists()][:1] or sorted(self.path.glob("*.safetensors"))
        if len(found) != 1:
            raise UsageError(f"{self.path} contains {len(found)} safetensors files; give the path of the LoRA file")
        if found[0].suffix != ".safetensors":
            raise UsageError(f"{found[0]} is not a safetensors file; loading other formats may run code")
        return found[0]

    @property
    def config(self) -> Path | None:
        """PEFT's settings next to the file, which contain alpha; None for the other formats."""
        beside = self.file.with_name(StageFiles.ADAPTER)
        return beside if (self.path.is_dir() or self.file.name == StageFiles.WEIGHTS) and beside.exists() else None


def attach(pipeline: Any, lora: Lora) -> None:
    """Add a LoRA to a pipeline's denoiser and text encoders: x_o = W x_i + scale alpha / r up down x_i.

    Raises ConfigError, naming tensors or layers, when the file is damaged, not a plain LoRA, or for another model.
    """
    factors = LoraFile.read(lora.file, lora.config).factors()
    for module, pair in _placed(pipeline, factors, lora):
        weight: Any = module.weight
        down, up = pair.down.to(weight), (lora.scale * pair.up).to(weight)
        module.register_forward_hook(partial(_branch, down, up))


def _branch(down: Tensor, up: Tensor, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The forward hook: a layer's output with the LoRA."""
    if isinstance(layer, nn.Linear):
        return output + F.linear(F.linear(inputs[0], down), up)
    inner = F.conv2d(inputs[0], down, None, layer.stride, layer.padding, layer.dilation)
    return output + F.conv2d(inner, up)


def _placed(pipeline: Any, factors: Mapping[str, Factors], lora: Lora) -> list[tuple[nn.Module, Factors]]:
    """Every layer's module and factors; raises ConfigError for layers that the model lacks, or of another shape."""
    places = _places(pipeline)
    found = {layer: _place(layer, places, pipeline) for layer in factors}
    if lost := sorted(layer for layer, name in found.items() if name is None):
        factors = _converted(pipeline, factors)
        found = {layer: _place(layer, places, pipeline) for layer in factors}
    if not factors or None in found.values() or len(set(found.values())) < len(found):
        names = ", ".join(lost[:SHOWN]) + (", ..." if len(lost) > SHOWN else "")
        raise ConfigError(
            f"the LoRA {lora.file} has weights for {len(factors or lost)} layers, and the model lacks some of them: "
            f"{names or 'some are given twice'}. Use the model that the LoRA was made for"
        )
    modules = {layer: places[name] for layer, name in found.items() if name is not None}
    return [(module, _fitting(factors[layer], module, layer, lora)) for layer, module in modules.items()]


def _places(pipeline: Any) -> dict[str, nn.Module]:
    """The layers that a LoRA can change, by network and name with underscores (kohya's convention)."""
    network = denoiser(pipeline)[0]
    parts = {name: pipeline.components.get(name) for name in (network, *ENCODERS)}
    return {
        f"{part} {inside.removeprefix('text_model.').replace('.', '_')}": module
        for part, whole in parts.items()
        if isinstance(whole, nn.Module)
        for inside, module in whole.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _place(layer: str, places: Mapping[str, nn.Module], pipeline: Any) -> str | None:
    """The key in `places` of a layer of a file; None if it matches in no format."""
    network = denoiser(pipeline)[0]
    name = re.sub(r"^(base_model\.model\.)?(lora_)?", "", layer).replace(".processor.", ".")
    encoder = re.match(r"(te1?|te2|te3|text_encoder(?:_[23])?)[._](?:text_model[._])?(.+)", name)
    if encoder:
        number = re.sub(r"\D", "", encoder[1])
        part, inside = ENCODERS[int(number or 1) - 1], encoder[2]
        old = re.fullmatch(r"(.+\.)(to_q|to_k|to_v|to_out)", inside)
        inside = old[1] + RENAMED[old[2]] if old else inside
    else:
        part, inside = network, name.removeprefix(f"{network}{'.' if '.' in name else '_'}")
    keys = [f"{part} {inside.replace('.', '_')}{end}" for end in ("", "_0")]  # older files lack the number of to_out
    return next((key for key in keys if key in places), None)


def _converted(pipeline: Any, factors: Mapping[str, Factors]) -> dict[str, Factors]:
    """The factors under diffusers' names; empty if its converters do not recognize them, or drop some."""
    kohya = all(layer.startswith("lora_") for layer in factors)
    down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    state = {f"{layer}.{down}.weight": pair.down for layer, pair in factors.items()}
    state |= {f"{layer}.{up}.weight": pair.up for layer, pair in factors.items()}
    options = {"unet_config": pipeline.unet.config} if denoiser(pipeline)[0] == "unet" else {}
    try:
        with silent(), warnings.catch_warnings(action="ignore"):
            answer = pipeline.lora_state_dict(state, **options)
            renamed: dict[str, Tensor] = answer[0] if isinstance(answer, tuple) else answer
        made = LoraFile(Path(), renamed, {}).factors()
    except Exception:  # of a dozen kinds; the caller names what has no place
        return {}
    before, after = (sum(pair.squared_norm for pair in pairs.values()) for pairs in (factors, made))
    return made if len(made) >= len(factors) and math.isclose(before, after, rel_tol=1e-4) else {}


def _fitting(pair: Factors, module: nn.Module, layer: str, lora: Lora) -> Factors:
    """The factors in the shape of the layer's weight; a linear layer and a 1 x 1 convolution are equivalent."""
    weight: Any = module.weight
    if pair.down.ndim > weight.ndim and pair.down[0, 0].numel() == 1:
        pair = Factors(pair.down.flatten(1), pair.up.flatten(1))
    elif pair.down.ndim < weight.ndim:
        pair = Factors(pair.down[..., None, None], pair.up[..., None, None])
    grouped = isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros")
    if grouped or (len(pair.up), *pair.down.shape[1:]) != tuple(weight.shape):
        shape = (len(pair.up), *pair.down.shape[1:])
        raise ConfigError(
            f"cannot use the LoRA {lora.file}: {layer} changes weights of shape {shape}, the model's have "
            f"{tuple(weight.shape)}. Use the model that the LoRA was made for"
        )
    return pair
