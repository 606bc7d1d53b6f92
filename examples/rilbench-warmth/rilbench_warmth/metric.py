"""The metric."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rilbench import MeanMetric
from rilbench_warmth.colour import warm_cool


class WarmShare(MeanMetric):
    """The share of an image's pixels that people call warm rather than cool, in %, by the published scale.

    It distinguishes an image that is warm everywhere from one with a few very warm pixels; the reward's mean cannot.
    """

    api_version = 1
    higher_is_better = True
    unit = "%"

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return 100 * (warm_cool(images, warmest=50) > 0).double().mean((1, 2))
