"""The LoRA adapter group (Sec. 4.1, Eq. 4): x_o = W x_i + sum_{i<=t} A_i B_i x_i.

`LoraPair` is one (A_t, B_t) for every adapted layer. `AdapterGroup` attaches the group to a network: the frozen pairs
are folded into the weights, the pair in training is a branch beside them, and during the rollout it is folded in too.
So the network costs the same at any number of stages, and one `no_grad` forward costs what the bare network costs.
In half precision, where folding would round small changes away, the pairs are one branch in such a forward instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rilbench.errors import ConfigError


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
        return LoraPair({k: v.to(where) for k, v in self.a.items()}, {k: v.to(where) for k, v in self.b.items()})

    def trainable(self) -> LoraPair:
        """A copy whose factors require gradients."""
        return LoraPair(
            {k: v.detach().clone().requires_grad_() for k, v in self.a.items()},
            {k: v.detach().clone().requires_grad_() for k, v in self.b.items()},
        )

    def copy(self) -> LoraPair:
        """A detached copy."""
        return LoraPair(
            {k: v.detach().clone() for k, v in self.a.items()}, {k: v.detach().clone() for k, v in self.b.items()}
        )

    @torch.no_grad()
    def lerp_(self, other: LoraPair, weight: float) -> None:
        """self <- (1 - weight) self + weight other, factor by factor."""
        torch._foreach_lerp_(self.factors, [f.detach() for f in other.factors], weight)

    @classmethod
    def concatenated(cls, chain: Sequence[tuple[LoraPair, float]]) -> LoraPair:
        """One pair of the summed rank whose A B is sum c_i A_i B_i, exactly."""
        first = chain[0][0]
        return cls(
            {name: torch.cat([c * pair.a[name] for pair, c in chain], dim=1) for name in first.a},
            {name: torch.cat([pair.b[name] for pair, _ in chain], dim=0) for name in first.b},
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


class AdapterGroup:
    """The group on one network. `frozen` weights are W plus every finished pair; `pair` is the one in training."""

    def __init__(self, network: nn.Module, *, targets: Sequence[str]) -> None:
        self.layers = _target_layers(network, targets)
        weights = {name: layer.weight.detach() for name, layer in self.layers.items()}
        self._dtype = next(iter(weights.values())).dtype
        self._half = self._dtype != torch.float32
        self.base = weights if self._half else {name: weight.clone() for name, weight in weights.items()}
        self.frozen = self.base
        self.pair: LoraPair | None = None
        self._active: LoraPair | None = None
        self._below: LoraPair | None = None
        for name, layer in self.layers.items():
            layer.register_forward_hook(self._branch(name))

    @property
    def folding_bytes(self) -> int:
        """What the group takes beside `base` once it has pairs: the frozen weights, and these with a pair folded in."""
        return 0 if self._half else 2 * sum(weight.nbytes for weight in self.base.values())

    @torch.no_grad()
    def load_chain(self, chain: Sequence[tuple[LoraPair, float]]) -> None:
        """Make the network W + sum_i c_i A_i B_i. Always computed from W, so nothing drifts."""
        self.pair = self._active = self._below = None
        if self._half:
            self._below = LoraPair.concatenated(chain).to(self._dtype) if chain else None
            return
        self.frozen = {}
        for name, weight in self.base.items():
            total = weight
            for pair, coefficient in chain:
                total = total + coefficient * (pair.a[name] @ pair.b[name]).to(weight.device)
            self.frozen[name] = total
        self._write(self.frozen)

    def start(self, pair: LoraPair) -> None:
        """Attach the pair in training as a branch: x_o = frozen x_i + A_t B_t x_i, with gradient to A_t and B_t."""
        self.pair = self._active = pair

    @contextmanager
    def folded(self, pair: LoraPair | None = None) -> Iterator[None]:
        """Within: a pair (default: the one in training) is part of the weights and no branch runs.

        For forwards without gradient. The weights are the frozen ones again at the end, bit by bit, so a graph made
        before may still be differentiated after.
        """
        pair = pair or self.pair
        assert pair is not None, "no pair in training"
        if self._half:
            with self._one_branch(pair):
                yield
            return
        with self.swapped(None):
            with torch.no_grad():
                self._write({n: w + pair.a[n] @ pair.b[n] for n, w in self.frozen.items()})
            try:
                yield
            finally:
                self._write(self.frozen)

    @contextmanager
    def _one_branch(self, pair: LoraPair) -> Iterator[None]:
        """Within: the frozen pairs and this one are a single branch in the network's precision."""
        below, parts = self._below, [part for part in (self._below, pair) if part is not None]
        with torch.no_grad():
            whole = LoraPair.concatenated([(part, 1.0) for part in parts]).to(self._dtype)
        self._below = None
        try:
            with self.swapped(whole):
                yield
        finally:
            self._below = below

    @contextmanager
    def swapped(self, pair: LoraPair | None) -> Iterator[None]:
        """Within: another pair, such as the teacher's, or none, in place of the one in training."""
        before, self._active = self._active, pair
        try:
            yield
        finally:
            self._active = before

    def checkpoint(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """torch's checkpointing of `function(*inputs)`; what runs in the backward pass has the pair of now."""
        pair = self._active

        def bound(*inputs: Any) -> Any:
            with self.swapped(pair):
                return function(*inputs)

        return checkpoint(bound, *inputs, use_reentrant=False)

    def _branch(self, name: str) -> Any:
        def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            x = inputs[0]
            for pair in (self._below, self._active):
                if pair is not None:
                    a, b = pair.a[name].to(x.dtype), pair.b[name].to(x.dtype)
                    output = output + nn.functional.linear(nn.functional.linear(x, b), a)
            return output

        return add

    def _write(self, weights: Mapping[str, Tensor]) -> None:
        for name, layer in self.layers.items():
            layer.weight.data.copy_(weights[name])  # data: autograd need not know, see `folded`


def _target_layers(network: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """Linear layers whose name ends in one of the targets, at a dot."""
    found = {n: m for n, m in network.named_modules() if any(f".{n}".endswith(f".{t}") for t in targets)}
    other = [f"{n} ({type(m).__name__})" for n, m in found.items() if not isinstance(m, nn.Linear)]
    if other:
        raise ConfigError(f"adapter.targets: only linear layers can be adapted, not {', '.join(other[:3])}")
    if not found:
        raise ConfigError(f"adapter.targets: the model has no layer named {', '.join(targets)}")
    return {name: layer for name, layer in found.items() if isinstance(layer, nn.Linear)}
