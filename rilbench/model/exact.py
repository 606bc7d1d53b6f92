"""A network with weights in half precision whose layers compute in float32 where their input is float32.

The last denoising steps run so: in half precision, a student and its teacher differ by rounding more than by what they
learned. A layer's weights are cast as it runs, so that without gradient, and with checkpointing, no more than a layer's
or a block's are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

HALF = (torch.bfloat16, torch.float16)


@dataclass
class Exact:
    """The casts of a network; `seen` receives each of them, to count its memory."""

    seen: Callable[[Tensor], None] | None = None

    def attach(self, network: nn.Module) -> None:
        """Make all layers of a network follow the precision of their input. It knows nothing about who calls it, so a
        block that checkpointing runs again in the backward pass computes the same."""
        for module in network.modules():
            own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
            if any(tensor.dtype in HALF for tensor in own):
                _Layer(module, self)


class _Layer:
    """One module, with the weights that it owns itself."""

    def __init__(self, module: nn.Module, exact: Exact) -> None:
        self.exact, self.kept = exact, list[tuple[dict[str, Any], str, Tensor]]()
        module.register_forward_pre_hook(self._cast, with_kwargs=True)
        module.register_forward_hook(self._restore, always_call=True)

    def _cast(self, module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        floating = (x for x in (*inputs, *named.values()) if isinstance(x, Tensor) and x.is_floating_point())
        if next(floating, torch.empty(0, dtype=torch.bfloat16)).dtype != torch.float32:
            return
        places: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        halves = [(own, name, tensor) for own in places for name, tensor in own.items() if tensor is not None]
        self.kept = [half for half in halves if half[2].dtype in HALF]
        for own, name, tensor in self.kept:
            cast = own[name] = tensor.detach().float()
            if self.exact.seen:
                self.exact.seen(cast)

    def _restore(self, module: nn.Module, inputs: Any, output: Any) -> None:
        for own, name, tensor in self.kept:
            own[name] = tensor
        self.kept.clear()
