"""`structure`: how much of the untouched model's picture is still there."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rilbench import MeanMetric


class Structure(MeanMetric):
    """SSIM of each image and the base model's image of the same prompt and noise, at most 1, which means unchanged.

    Gaussian window of 11 pixels, sigma 1.5, on RGB. Source: Wang et al., Image Quality Assessment (2004), Eq. 13.
    """

    higher_is_better = True
    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure

        if base_images is None:
            raise ValueError("structure compares with base_images; pass them to update")
        ssim: Tensor = structural_similarity_index_measure(
            images.float(), base_images.float(), data_range=1.0, reduction="none"
        )
        return ssim
