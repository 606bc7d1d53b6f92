"""`clip`: how well an image matches its prompt, by CLIP similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import NeededFile, Reward, setting
from rilbench.encoders import CLIP_MODEL, CLIP_PRETRAINED, ClipEncoder, Fit, clip_files


@dataclass(frozen=True)
class ClipSettings:
    """The CLIP that scores; for instance "ViT-L-14" with the tag "openai"."""

    model: str = setting("package:rilbench_shapes/weights/clip", CLIP_MODEL, path=True)
    pretrained: str | None = setting(None, CLIP_PRETRAINED, path=True)
    sha256: str | None = setting(None, "expected hexadecimal hash of the local weight file", longest=64)
    fit: Fit = setting("square", "`square` is CLIP's preprocessing, `pad` keeps the whole image")


class Clip(Reward):
    """The cosine of image and prompt features, in [-1, 1] and without logit scale.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021).
    """

    Settings = ClipSettings
    settings: ClipSettings

    @classmethod
    def files(cls, settings: ClipSettings) -> Sequence[NeededFile]:
        return clip_files(settings.model, settings.pretrained)

    def __init__(self, settings: ClipSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.encoder = ClipEncoder(settings.model, settings.pretrained, device, settings.fit, sha256=settings.sha256)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (self.encoder.image_features(images) * self.encoder.text_features(prompts)).sum(1)
