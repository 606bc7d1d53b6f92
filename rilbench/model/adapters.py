"""The LoRA adapter group (Sec. 4.1, Eq. 4): x_o = W x_i + sum_{i<=t} A_i B_i x_i.

`LoraPair` is one (A_t, B_t) for every adapted layer. `AdapterGroup` attaches the group to a network: the frozen pairs
are folded into the weights, the pair in training is a branch beside them, and during the rollout it is folded in too.
So the network costs the same at any number of stages, and one `no_grad` forward costs what the bare network costs.
In half precision, where folding would round small changes away, the pairs are one branch in such a forward instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.pair import LoraPair


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
