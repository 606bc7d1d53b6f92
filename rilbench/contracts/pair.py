"""One (A_t, B_t) of Eq. 4 for every adapted layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


class LoraPair:
    """A_t (out, r) and B_t (r, in) of every adapted layer, float32. Scaling is 1: alpha equals the rank."""

    def __init__(self, a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
        self.a, self.b = dict(sorted(a.items())), dict(sorted(b.items()))  # files come back sorted too

    @classmethod
    def initialised(
        cls, layers: Mapping[str, nn.Linear], *, rank: int, init: str, generator: torch.Generator
    ) -> LoraPair:
        """A new pair with A B = 0. `paper`: B zero, A Kaiming-uniform; `peft`: the mirror image."""
        a: dict[str, Tensor] = {}
        b: dict[str, Tensor] = {}
        for name, layer in layers.items():
            a[name] = torch.zeros(layer.out_features, rank)
            b[name] = torch.zeros(rank, layer.in_features)
            # Kaiming-uniform with a = sqrt(5), the LoRA standard: bound 1 / sqrt(fan_in), fan_in = columns
            factor = a[name] if init == "paper" else b[name]
            factor.uniform_(-1, 1, generator=generator).div_(math.sqrt(factor.shape[1]))
        return cls(a, b).to(next(iter(layers.values())).weight.device)

    @property
    def factors(self) -> list[Tensor]:
        """All A and B, in a fixed order."""
        return [*self.a.values(), *self.b.values()]

    def to(self, where: torch.device | torch.dtype | str) -> LoraPair:
        return self._each(lambda factor: factor.to(where))

    def trainable(self) -> LoraPair:
        """A copy whose factors require gradients."""
        return self._each(lambda factor: factor.detach().clone().requires_grad_())

    def copy(self) -> LoraPair:
        """A detached copy."""
        return self._each(lambda factor: factor.detach().clone())

    def _each(self, function: Callable[[Tensor], Tensor]) -> LoraPair:
        return LoraPair({k: function(v) for k, v in self.a.items()}, {k: function(v) for k, v in self.b.items()})

    @torch.no_grad()
    def lerp_(self, other: LoraPair, weight: float) -> None:
        """self <- (1 - weight) self + weight other, factor by factor."""
        torch._foreach_lerp_(self.factors, [f.detach() for f in other.factors], weight)

    @classmethod
    def concatenated(cls, chain: Sequence[tuple[LoraPair, float]]) -> LoraPair:
        """One pair of the summed rank whose A B is sum c_i A_i B_i, exactly.

        A layer that some pairs do not adapt has the rank of the others.
        """
        names = list(dict.fromkeys(name for pair, _ in chain for name in pair.a))
        return cls(
            {name: torch.cat([c * pair.a[name] for pair, c in chain if name in pair.a], dim=1) for name in names},
            {name: torch.cat([pair.b[name] for pair, _ in chain if name in pair.b], dim=0) for name in names},
        )

    @classmethod
    def averaged(cls, chain: Sequence[tuple[LoraPair, float]]) -> LoraPair:
        """(sum c_i A_i)(sum c_i B_i): the factors averaged, which is not the average of the changes A_i B_i."""
        first = chain[0][0]
        return cls(
            {name: torch.stack([c * pair.a[name] for pair, c in chain]).sum(0) for name in first.a},
            {name: torch.stack([c * pair.b[name] for pair, c in chain]).sum(0) for name in first.b},
        )

    def truncated(self, rank: int) -> LoraPair:
        """The pair of at most this rank whose A B is nearest to this one's, layer by layer; exact where A B has it."""
        a: dict[str, Tensor] = {}
        b: dict[str, Tensor] = {}
        for name in self.a:
            left, upper = torch.linalg.qr(self.a[name])
            right, lower = torch.linalg.qr(self.b[name].T)
            u, s, v = torch.linalg.svd(upper @ lower.T)
            kept = slice(min(rank, len(s)))
            a[name], b[name] = left @ u[:, kept] * s[kept], v[kept] @ right.T
        return type(self)(a, b)

    def state(self, prefix: str = "unet") -> dict[str, Tensor]:
        """Factors under PEFT's names: lora_A is the reduction (our B), lora_B the expansion (our A).

        prefix: what the pipeline calls the network, unet or transformer.
        """
        named = {f"{prefix}.{name}.lora_A.weight": b for name, b in self.b.items()}
        named |= {f"{prefix}.{name}.lora_B.weight": a for name, a in self.a.items()}
        return {key: value.detach().contiguous() for key, value in named.items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> LoraPair:
        """The inverse of `state`."""
        a: dict[str, Tensor] = {}
        b: dict[str, Tensor] = {}
        for key, value in state.items():
            name, _, factor = key.partition(".")[2].removesuffix(".weight").rpartition(".")
            (b if factor == "lora_A" else a)[name] = value
        return cls(a, b)
