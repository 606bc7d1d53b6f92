"""Metrics of the features of images: `clip_score`, how well they show what their prompts say, by CLIP, and `diversity`,
how different the images of one prompt are from each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch.nn.functional as F
from torch import Tensor

from rilbench import MeanMetric, Metric, NeededFile, setting
from rilbench.contracts.files import named
from rilbench.encoders import CLIP_MODEL, CLIP_PRETRAINED, ClipEncoder, clip_files
from rilbench_metrics.extractors import ExtractorSettings, extractor_files, make_extractor


@dataclass(frozen=True)
class ClipScoreSettings:
    """The CLIP whose features are compared."""

    model: str = setting("package:rilbench_shapes/weights/clip", CLIP_MODEL, path=True)
    pretrained: str | None = setting(None, CLIP_PRETRAINED, path=True)


class ClipScore(MeanMetric):
    """100 times the cosine of image and prompt features, in [-100, 100]; negative values are kept.

    On `shapes` it measures style more than content: perfect renders of a caption score between 62 and 83 in nine of ten
    cases, because its CLIP also reads the styles that a caption leaves open. `attributes` measures content.
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


class Diversity(Metric):
    """1 minus the mean cosine of the features of two images of one prompt, in [0, 2]; the mean over prompts.

    Approaches 0 when a model generates the same image for a prompt whatever the noise. NaN if no prompt has two images.
    """

    Settings = ExtractorSettings
    higher_is_better = True

    @classmethod
    def files(cls, settings: ExtractorSettings) -> Sequence[NeededFile]:
        return list(dict.fromkeys([*extractor_files(settings), *named(settings)]))

    def __init__(self, settings: ExtractorSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.extract = make_extractor(settings, device)
        self.reset()

    def reset(self) -> None:
        self._sums: dict[str, tuple[int, Tensor]] = {}

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> None:
        if not len(images):
            return
        features = F.normalize(self.extract.features(images).double().cpu())
        for prompt, group in groupby(range(len(prompts)), key=lambda i: prompts[i]):
            rows = features[list(group)]
            count, total = self._sums.get(prompt, (0, 0))
            self._sums[prompt] = count + len(rows), total + rows.sum(0)

    def compute(self) -> float:
        # unit vectors: the n (n - 1) products of different ones sum to |sum of all|^2 - n
        cosines = [(float(s @ s) - n) / (n * (n - 1)) for n, s in self._sums.values() if n > 1]
        return 1 - sum(cosines) / len(cosines) if cosines else float("nan")
