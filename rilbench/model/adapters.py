"""The LoRA adapter group, Eq. 4 (Sec. 4.1): x_o = W x_i + sum_{i<=t} A_i B_i x_i.

The frozen pairs, i < t, are folded into the weights, and the pair in training is a branch beside them. During the
rollout it is folded in too. So the network costs the same at any number of stages, and a forward without gradient costs
what the bare network's does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from rilbench.contracts.pair import LoraPair


class AdapterGroup:
    """The group on the linear layers of a network, by name. `rilbench.model.attach.adapter_group` makes one.

    `layers` are those that a new pair adapts. `others` are adapted by earlier pairs only, whose stages had other
    targets; a pair without a layer leaves it as it is.
    """

    folds: ClassVar[bool] = True

    def __init__(self, layers: Mapping[str, nn.Linear], others: Mapping[str, nn.Linear] | None = None) -> None:
        self.layers, self._every = layers, {**layers, **(others or {})}
        weights = {name: layer.weight.detach() for name, layer in self._every.items()}
        self.base = {name: weight.clone() for name, weight in weights.items()} if self.folds else weights  # W
        self.frozen = self.base  # W + sum_{i<t} A_i B_i
        self.pair: LoraPair | None = None  # A_t and B_t, the pair in training
        self._active: LoraPair | None = None  # the pair of the branch
        for name, layer in self._every.items():
            layer.register_forward_hook(partial(self._add_branches, name))

    def _add_branches(self, name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """x_o of a layer, whose own output is (W + sum_{i<t} A_i B_i) x_i."""
        x_i, x_o = inputs[0], output
        for pair in (pair for pair in self._branches() if name in pair.a):
            a, b = pair.a[name].to(x_i.dtype), pair.b[name].to(x_i.dtype)
            x_o = x_o + linear(linear(x_i, b), a)  # + A_t B_t x_i
        return x_o

    def _branches(self) -> list[LoraPair]:
        return [] if self._active is None else [self._active]

    @property
    def folding_bytes(self) -> int:
        """What the group takes in addition to `base` once it has pairs: the frozen weights, and these with a pair."""
        return 2 * sum(weight.nbytes for weight in self.base.values())

    @torch.no_grad()
    def load_chain(self, chain: Sequence[tuple[LoraPair, float]]) -> None:
        """Make the network W + sum_i c_i A_i B_i. Always computed from W, so nothing drifts."""
        self.pair = self._active = None
        self.frozen = {}
        for name, weight in self.base.items():
            total = weight
            for pair, coefficient in ((pair, c) for pair, c in chain if name in pair.a):
                total = total + coefficient * (pair.a[name] @ pair.b[name]).to(weight.device)
            self.frozen[name] = total
        self._write(self.frozen)

    def start(self, pair: LoraPair) -> None:
        """Attach the pair in training as the branch, with gradient to A_t and B_t."""
        self.pair = self._active = pair

    @contextmanager
    def folded(self, pair: LoraPair | None = None) -> Iterator[None]:
        """Within: a pair (default: the one in training) is part of the weights and no branch runs.

        For forwards without gradient. The weights are the frozen ones again at the end, bit by bit, so a graph made
        before may still be differentiated after.
        """
        pair = pair or self.pair
        assert pair is not None, "no pair in training"
        with self.swapped(None):
            with torch.no_grad():
                self._write({n: w + pair.a[n] @ pair.b[n] if n in pair.a else w for n, w in self.frozen.items()})
            try:
                yield
            finally:
                self._write(self.frozen)

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

    def _write(self, weights: Mapping[str, Tensor]) -> None:
        for name, layer in self._every.items():
            layer.weight.data.copy_(weights[name])  # data: autograd need not know, see `folded`
