"""Statistics of the features of a folder of images, one batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rilbench.engine.progress import OnBatch
from rilbench.model.randomness import generator_for
from rilbench_metrics.extractors import Extractor
from rilbench_metrics.folder import read_rgb

SAMPLE = 2000  # images whose features are stored, for kernel distances


def read_image(file: Path, size: int) -> Tensor:
    """An image file as a tensor (3, H, W) in [0, 1], 8 bits per channel, by the rules of `rilbench_metrics.folder`.

    size: the short side is brought to so many pixels (Pillow, bilinear), then the centre is cut out, as
        torch-fidelity's `samples_resize_and_crop` does; 0 leaves the image unchanged; only the extractor scales it.
    """
    image = read_rgb(file)
    if size:
        image = _cropped(image, size)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def _cropped(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


class Moments:
    """Running mean and covariance of features, in float64."""

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Add features (B, D), with Chan, Golub and LeVeque's stable update."""
        features = features.double().cpu()
        count, mean = len(features), features.mean(0)
        centred, apart = features - mean, mean - self.mean
        total = self.n + count
        self._scatter += centred.T @ centred + torch.outer(apart, apart) * (self.n * count / total)
        self.mean += apart * (count / total)
        self.n = total

    @property
    def cov(self) -> Tensor:
        """Unbiased covariance (D, D) of at least two features."""
        return self._scatter / (self.n - 1)


@torch.no_grad()
def measure(
    files: Sequence[Path], extractor: Extractor, *, size: int, batch_size: int, on_batch: OnBatch
) -> tuple[Moments, Tensor]:
    """The moments of the images' features, and the features of a sample, at most `SAMPLE`, (M, D) in half precision.

    `on_batch` receives the number of finished images.
    """
    chosen = torch.zeros(len(files), dtype=torch.bool)
    chosen[torch.randperm(len(files), generator=generator_for("reference"))[:SAMPLE]] = True
    sample: list[Tensor] = []
    moments: Moments | None = None
    for batch in _batches(files, size, batch_size):
        features = extractor.features(batch)
        moments = moments or Moments(features.shape[1])
        sample.append(features[chosen[moments.n : moments.n + len(features)].to(features.device)].half().cpu())
        moments.add(features)
        on_batch(moments.n, len(files))
    assert moments is not None
    return moments, torch.cat(sample)


def _batches(files: Sequence[Path], size: int, batch_size: int) -> Iterator[Tensor]:
    """Batches (B, 3, H, W) of consecutive images of one size, of limited length."""
    waiting: list[Tensor] = []
    for file in files:
        image = read_image(file, size)
        if waiting and (len(waiting) == batch_size or image.shape != waiting[0].shape):
            yield torch.stack(waiting)
            waiting = []
        waiting.append(image)
    yield torch.stack(waiting)
