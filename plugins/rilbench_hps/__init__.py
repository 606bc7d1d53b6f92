"""`hps`: which image people prefer for a prompt, by Human Preference Score v2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import NeededFile, Reward, setting
from rilbench.encoders import CLIP_MODEL, CLIP_PRETRAINED, ClipEncoder, Fit, clip_files


@dataclass(frozen=True)
class HPSSettings:
    """The CLIP that scores; "ViT-H-14" with the file HPS_v2_compressed.pt for the published score."""

    model: str = setting("package:rilbench_shapes/weights/hps", CLIP_MODEL, path=True)
    pretrained: str | None = setting(None, CLIP_PRETRAINED, path=True)
    sha256: str | None = setting(None, "expected hexadecimal hash of the local weight file", longest=64)
    fit: Fit = setting("pad", "`pad` is the official preprocessing; `square` crops")


class HPS(Reward):
    """The cosine of image and prompt features, in [-1, 1] and without logit scale; about 0.27 for Stable Diffusion.

    Source: Wu et al., Human Preference Score v2 (2023).
    """

    Settings = HPSSettings
    settings: HPSSettings

    @classmethod
    def files(cls, settings: HPSSettings) -> Sequence[NeededFile]:
        return clip_files(settings.model, settings.pretrained)

    def __init__(self, settings: HPSSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.encoder = ClipEncoder(settings.model, settings.pretrained, device, settings.fit, sha256=settings.sha256)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (self.encoder.image_features(images) * self.encoder.text_features(prompts)).sum(1)
