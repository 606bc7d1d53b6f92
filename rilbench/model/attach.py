"""The adapter group on a network: which layers it adapts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from rilbench.contracts.errors import ConfigError
from rilbench.model.adapters import AdapterGroup


def adapter_group(network: nn.Module, *, targets: Sequence[str], earlier: Sequence[str] = ()) -> AdapterGroup:
    """The group on the linear layers whose names end in one of the targets, at a dot. ConfigError for other layers.

    earlier: the targets of frozen pairs, which may be others than those of new pairs.
    """
    layers = _layers(network, targets)
    others = {name: layer for name, layer in _layers(network, earlier).items() if name not in layers} if earlier else {}
    if next(iter(layers.values())).weight.dtype == torch.float32:
        return AdapterGroup(layers, others)
    from rilbench.model.half_precision import HalfPrecisionGroup

    return HalfPrecisionGroup(layers, others)


def _layers(network: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear]:
    named = {n: m for n, m in network.named_modules() if any(f".{n}".endswith(f".{t}") for t in targets)}
    layers = {name: layer for name, layer in named.items() if isinstance(layer, nn.Linear)}
    other = [f"{name} ({type(named[name]).__name__})" for name in named if name not in layers]
    if other:
        raise ConfigError(f"adapter.targets: only linear layers can be adapted, not {', '.join(other[:3])}")
    if not layers:
        raise ConfigError(f"adapter.targets: the model has no layer whose name ends in {', '.join(targets)}")
    return layers
