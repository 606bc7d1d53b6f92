"""The layers of a pipeline that a LoRA file changes.

Every tensor of the file must have a layer, or the file is refused: the images of a partly loaded LoRA would be
meaningless. diffusers' converters rename foreign layer names.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rilbench.contracts.errors import ConfigError
from rilbench.model.backbones import family
from rilbench.model.libraries import silent
from rilbench.model.lora_file import Factors, LoraFile

SHOWN = 5  # layers in a message
RENAMED = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}  # in old text encoders
Layers = Mapping[str, tuple[str, nn.Module]]  # kohya's name of a layer to its own name and the layer


def placed(pipeline: Any, file: LoraFile) -> list[tuple[str, nn.Module, Factors]]:
    """Name, module and factors of every layer of a file. ConfigError for layers that the model lacks or that have
    another shape."""
    factors, layers = file.factors(), _layers(pipeline)
    many = len(factors)
    found = {name: _place(name, layers, pipeline) for name in factors}
    if lost := sorted(name for name, place in found.items() if place is None):
        renamed = _converted(pipeline, {name: factors.pop(name) for name in lost})
        factors |= renamed
        found = {name: _place(name, layers, pipeline) for name in factors} if renamed else {}
    if not found or None in found.values() or len(set(found.values())) < len(found):
        names = ", ".join(lost[:SHOWN]) + (", ..." if len(lost) > SHOWN else "")
        raise ConfigError(
            f"the LoRA {file.path} has weights for {many} layers, and the model lacks some of them: "
            f"{names or 'some are given twice'}. Use the model that the LoRA was made for"
        )
    modules = {name: layers[place] for name, place in found.items() if place is not None}
    return [(own, module, _fitting(factors[name], module, name, file)) for name, (own, module) in modules.items()]


def _layers(pipeline: Any) -> Layers:
    """The layers that a LoRA can change, by network and name with underscores."""
    kind = family(type(pipeline).__name__)
    parts = {name: pipeline.components.get(name) for name in (kind.prefix, *kind.encoders)}
    return {
        f"{part} {inside.removeprefix('text_model.').replace('.', '_')}": (f"{part}.{inside}", module)
        for part, whole in parts.items()
        if isinstance(whole, nn.Module)
        for inside, module in whole.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def _place(layer: str, layers: Layers, pipeline: Any) -> str | None:
    """The key in `layers` of a layer of a file; None if it matches in no format."""
    kind = family(type(pipeline).__name__)
    name = re.sub(r"^(base_model\.model\.)?(lora_)?", "", layer).replace(".processor.", ".")
    encoder = re.match(r"(te1?|te2|te3|text_encoder(?:_[23])?)[._](?:text_model[._])?(.+)", name)
    if encoder:
        number = int(re.sub(r"\D", "", encoder[1]) or 1)
        number = min(number, len(kind.encoders)) if encoder[1] == "te3" else number  # kohya's name of T5, the last one
        part, inside = ("text_encoder" if number == 1 else f"text_encoder_{number}"), encoder[2]
        old = re.fullmatch(r"(.+\.)(to_q|to_k|to_v|to_out)", inside)
        inside = old[1] + RENAMED[old[2]] if old else inside
    else:
        part, inside = kind.prefix, name.removeprefix(f"{kind.prefix}{'.' if '.' in name else '_'}")
    keys = [f"{part} {inside.replace('.', '_')}{end}" for end in ("", "_0")]  # older files lack the number of to_out
    return next((key for key in keys if key in layers), None)


def _converted(pipeline: Any, factors: Mapping[str, Factors]) -> dict[str, Factors]:
    """The factors under diffusers' names; empty if its converters do not recognize them, or drop some."""
    kohya = all(layer.startswith("lora_") for layer in factors)
    down, up = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    state = {f"{layer}.{down}.weight": pair.down for layer, pair in factors.items()}
    state |= {f"{layer}.{up}.weight": pair.up for layer, pair in factors.items()}
    options = {"unet_config": pipeline.unet.config} if family(type(pipeline).__name__).prefix == "unet" else {}
    try:
        with silent(), warnings.catch_warnings(action="ignore"):
            answer = pipeline.lora_state_dict(state, **options)
            renamed: dict[str, Tensor] = answer[0] if isinstance(answer, tuple) else answer
        made = LoraFile(Path(), renamed, {}).factors()
    except Exception:  # of a dozen kinds; the caller names what has no place
        return {}
    before, after = (sum(pair.squared_norm for pair in pairs.values()) for pairs in (factors, made))
    return made if len(made) >= len(factors) and math.isclose(before, after, rel_tol=1e-4) else {}


def _fitting(pair: Factors, module: nn.Module, layer: str, file: LoraFile) -> Factors:
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
            f"cannot use the LoRA {file.path}: {layer} changes weights of shape {shape}, the model's have "
            f"{tuple(weight.shape)}. Use the model that the LoRA was made for"
        )
    return pair
