"""How a training prompt is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rilbench.contracts.prompt import Prompt

PARTS = 2**27  # the resolution of a weighted draw, which takes as much of a generator as one without weights


@dataclass(frozen=True)
class PromptPool:
    """The training prompts of a stage; each is drawn with a probability in proportion to its weight."""

    prompts: Sequence[Prompt]

    def draw(self, generator: torch.Generator) -> Prompt:
        """One prompt: the first whose cumulative share of the weights exceeds a uniform number."""
        if self._shares is None:
            return self.prompts[int(torch.randint(len(self.prompts), (), generator=generator))]
        uniform = torch.randint(PARTS, (), generator=generator).double() / PARTS
        number = int(torch.searchsorted(self._shares, uniform, right=True))
        return self.prompts[min(number, len(self.prompts) - 1)]  # rounding may leave the last share below 1

    @cached_property
    def _shares(self) -> Tensor | None:
        """Cumulative shares of the weights (P,); None if all weights are equal."""
        weights = torch.tensor([prompt.weight for prompt in self.prompts], dtype=torch.float64)
        return None if (weights == weights[0]).all() else weights.cumsum(0) / weights.sum()
