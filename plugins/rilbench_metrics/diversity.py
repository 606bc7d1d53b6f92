"""`diversity`: how different the images of one prompt are from each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch.nn.functional as F
from torch import Tensor

from rilbench import Metric, NeededFile
from rilbench.contracts.files import named
from rilbench_metrics.extractors import ExtractorSettings, extractor_files, make_extractor


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
