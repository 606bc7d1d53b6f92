"""Running norms of gradients, by which rewards of any scale are made to pull equally hard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Norms:
    """The exponential average of n gradient norms, corrected for its start at zero as in Adam."""

    def __init__(self, n: int, momentum: float) -> None:
        self.values = [0.0] * n
        self.share = 0.0  # how much of the average is real by now
        self.momentum = momentum

    def update(self, gradients: Sequence[Tensor]) -> list[float]:
        """Take in the norms of n gradients (P,); the averages, 0 for one that was always zero."""
        import torch

        m = self.momentum
        self.share = m * self.share + (1 - m)
        for i, gradient in enumerate(gradients):
            norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)  # squares of tiny numbers are no float32
            self.values[i] = m * self.values[i] + (1 - m) * float(norm)
        return [value / self.share for value in self.values]

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"norms": torch.tensor([*self.values, self.share], dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        *self.values, self.share = state["norms"].tolist()
