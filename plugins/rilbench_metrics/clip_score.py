"""`clip_score`: how well images show what their prompts say, by the cosine of CLIP features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rilbench import MeanMetric, NeededFile, setting
from rilbench.encoders import CLIP_MODEL, CLIP_PRETRAINED, ClipEncoder, clip_files


@dataclass(frozen=True)
class ClipScoreSettings:
    """The CLIP whose features are compared."""

    model: str = setting("package:rilbench_shapes/weights/clip", CLIP_MODEL, path=True)
    pretrained: str | None = setting(None, CLIP_PRETRAINED, path=True)


class ClipScore(MeanMetric):
    """100 times the cosine of image and prompt features, in [-100, 100]; negative values are kept.

    On `shapes` it measures style more than content: perfect renders of a caption score 61 to 79, because the CLIP of
    this benchmark also reads styles that the caption does not name. `attributes` measures the content.
    Source: Hessel et al., CLIPScore (2021), with the usual weight 100 in place of 2.5.
    """

    Settings = ClipScoreSettings
    higher_is_better = True

    @classmethod
    def files(cls, settings: ClipScoreSettings) -> Sequence[NeededFile]:
        return clip_files(settings.model, settings.pretrained)

    def __init__(self, settings: ClipScoreSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.encoder = ClipEncoder(settings.model, settings.pretrained, device)

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return 100 * (self.encoder.image_features(images) * self.encoder.text_features(prompts)).sum(1)
