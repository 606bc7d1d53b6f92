"""The adapter group of a network in half precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from rilbench.contracts.pair import LoraPair
from rilbench.model.adapters import AdapterGroup
from rilbench.model.base_loras import taken


class HalfPrecisionGroup(AdapterGroup):
    """Folds nothing into the weights, whose rounding would lose small changes: the frozen pairs are one branch.

    During the rollout they and the pair in training are a single branch.
    """

    folds = False
    folding_bytes = 0
    _below: LoraPair | None = None  # all frozen pairs, and the base model's LoRAs

    def __init__(self, layers: Mapping[str, nn.Linear], others: Mapping[str, nn.Linear] | None = None) -> None:
        super().__init__(layers, others)
        self._base_loras = taken(self._every)
        self.load_chain([])

    def _branches(self) -> list[LoraPair]:
        return [pair for pair in (self._below, self._active) if pair is not None]

    def load_chain(self, chain: Sequence[tuple[LoraPair, float]]) -> None:
        self.pair = self._active = None
        base = [(self._base_loras, 1.0)] if self._base_loras else []
        self._below = self._rounded([*base, *chain]) if base or chain else None

    @contextmanager
    def folded(self, pair: LoraPair | None = None) -> Iterator[None]:
        pair = pair or self.pair
        assert pair is not None, "no pair in training"
        below = self._below
        whole = self._rounded([(part, 1.0) for part in (below, pair) if part is not None])
        self._below = None
        try:
            with self.swapped(whole):
                yield
        finally:
            self._below = below

    @torch.no_grad()
    def _rounded(self, chain: Sequence[tuple[LoraPair, float]]) -> LoraPair:
        """The sum of a chain in the network's precision."""
        return LoraPair.concatenated(chain).to(next(iter(self.base.values())).dtype)
