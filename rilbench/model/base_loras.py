"""LoRAs from elsewhere as part of the base model: W <- W + sum scale alpha / r up down, before any stage.

In float32 they are folded into the weights, so that they cost nothing. In half precision, where small changes would be
lost to rounding, each is a branch of its layers, which an adapter group joins with the branch of its frozen pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rilbench.contracts.pair import LoraPair
from rilbench.files.loras import Lora
from rilbench.model.lora_file import Factors, LoraFile
from rilbench.model.lora_layers import placed

DOWN, UP = "base_lora_down_", "base_lora_up_"  # buffers of a layer, numbered
Placed = list[tuple[str, nn.Module, Factors]]  # part and name of a layer, `unet.mid_block...`, the layer, its factors


def factors_of(pipeline: Any, loras: Sequence[Lora]) -> list[tuple[Lora, Placed]]:
    """The layers of every LoRA. ConfigError, naming tensors or layers, for a damaged one, one that is not a plain LoRA,
    or one for another model."""
    return [(lora, placed(pipeline, LoraFile.read(lora.file, lora.config))) for lora in loras]


def attach(pipeline: Any, loras: Sequence[Lora]) -> None:
    """Apply LoRAs to a pipeline's denoiser and text encoders; errors are those of `factors_of`, and nothing is applied
    then."""
    for lora, layers in factors_of(pipeline, loras):
        for _, layer, factors in layers:
            weight: Any = layer.weight
            (_fold if weight.dtype == torch.float32 else _branch)(layer, factors, lora.scale)


@torch.no_grad()
def _fold(layer: Any, factors: Factors, scale: float) -> None:
    """Computed as `AdapterGroup.load_chain` does, so that an exported pair has the same bits as the pair."""
    down, up = (factor.to(layer.weight.device) for factor in factors)
    layer.weight.data.add_(scale * (up.flatten(1) @ down.flatten(1)).view_as(layer.weight))


def _branch(layer: Any, factors: Factors, scale: float) -> None:
    """x_o = W x_i + scale up down x_i. The factors are buffers, which the last steps cast to float32 as the weights."""
    if not (number := len(_downs(layer))):
        layer.register_forward_hook(_add, prepend=True)  # before the weights are half precision again
    layer.register_buffer(f"{DOWN}{number}", factors.down.to(layer.weight), persistent=False)
    layer.register_buffer(f"{UP}{number}", (scale * factors.up).to(layer.weight), persistent=False)


def _downs(layer: nn.Module) -> list[str]:
    return [name for name, _ in layer.named_buffers(recurse=False) if name.startswith(DOWN)]


def _add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    for name in _downs(layer):
        output = output + _low_rank(layer, inputs[0], getattr(layer, name), getattr(layer, name.replace(DOWN, UP)))
    return output


def _low_rank(layer: Any, x: Tensor, down: Tensor, up: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(F.linear(x, down), up)
    return F.conv2d(F.conv2d(x, down, None, layer.stride, layer.padding, layer.dilation), up)


def taken(layers: Mapping[str, nn.Linear]) -> LoraPair | None:
    """Remove the branches of these layers and return their sum as a pair; None if there are none."""
    a: dict[str, Tensor] = {}
    b: dict[str, Tensor] = {}
    for name, layer in layers.items():
        if downs := _downs(layer):
            b[name] = torch.cat([getattr(layer, down) for down in downs], dim=0)
            a[name] = torch.cat([getattr(layer, down.replace(DOWN, UP)) for down in downs], dim=1)
        for down in downs:
            delattr(layer, down)
            delattr(layer, down.replace(DOWN, UP))
    return LoraPair(a, b) if a else None
