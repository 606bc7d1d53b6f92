"""`aesthetic`: how much people like the look of an image, by the LAION aesthetic predictor v2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import ConfigError, NeededFile, Reward, setting
from rilbench.contracts.files import named
from rilbench.encoders import CLIP_MODEL, CLIP_PRETRAINED, ClipEncoder, check_sha256, clip_files
from rilbench_aesthetic.head import LinearHead

__all__ = ["Aesthetic", "AestheticSettings", "LinearHead"]


@dataclass(frozen=True)
class AestheticSettings:
    """The image encoder and the head on it; the published head needs OpenAI's ViT-L/14."""

    clip: str = setting("package:rilbench_shapes/weights/clip", CLIP_MODEL, path=True)
    pretrained: str | None = setting(None, CLIP_PRETRAINED, path=True)
    head: str = setting(
        "package:rilbench_shapes/weights/aesthetic.safetensors",
        "the head's weights, `.safetensors` or `.pth`; path or reference",
        path=True,
    )
    head_sha256: str | None = setting(None, "expected hexadecimal hash of the head's file", longest=64)


class Aesthetic(Reward):
    """An affine function of CLIP's unit image features; in [-12.76, 23.23] for the published head, mostly 4 to 7.

    The prompts are not looked at. Source: Schuhmann, improved-aesthetic-predictor (sac+logos+ava1-l14-linearMSE).
    """

    Settings = AestheticSettings
    settings: AestheticSettings
    uses_prompts = False

    @classmethod
    def files(cls, settings: AestheticSettings) -> Sequence[NeededFile]:
        return [*named(settings), *clip_files(settings.clip, settings.pretrained)]

    def __init__(self, settings: AestheticSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        if settings.head_sha256 is not None:
            check_sha256(settings.head, settings.head_sha256)
        self.head = LinearHead.load(settings.head).eval().requires_grad_(False).to(device)
        self.encoder = ClipEncoder(settings.clip, settings.pretrained, device, setting="clip")
        if self.head.dim != self.encoder.dim:
            raise ConfigError(
                f"head: {settings.head} takes {self.head.dim} features, {settings.clip} gives {self.encoder.dim}; "
                "name the encoder the head was trained on"
            )

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores: Tensor = self.head(self.encoder.image_features(images))
        return scores
