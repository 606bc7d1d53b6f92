"""`incompressibility`: how much JPEG changes an image, the opposite of `compressibility`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rilbench import Reward
from rilbench_jpeg import Compressibility, CompressibilitySettings


class Incompressibility(Reward):
    """||x - JPEG(x)||^2 of pixels in [0, 1], at least 0: detail and grain that JPEG loses score high.

    Exactly minus `compressibility` with the same settings, whose text says how near this is to a real file. An image
    that survives JPEG unchanged, such as a black one, scores 0 with a gradient of 0. Source of the task: Black et al.,
    Training Diffusion Models with Reinforcement Learning (2023), there by the size of the file.

    `png_kb` and `jpeg_kb` are not among `metrics`: they declare small files as better, so every success of this reward
    would stand in the tables as forgetting. `evaluate.metrics=[jpeg_kb]` still measures them.
    """

    api_version = 1
    Settings = CompressibilitySettings
    settings: CompressibilitySettings
    uses_prompts = False
    precision = "fp64"

    def __init__(self, settings: CompressibilitySettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.compressibility = Compressibility(settings, device=device)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return -self.compressibility(images, prompts)
