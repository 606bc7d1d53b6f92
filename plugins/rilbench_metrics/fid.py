"""`fid`: the Frechet distance between the features of the images and those of a reference set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from rilbench import ConfigError, Metric, NeededFile, setting
from rilbench.contracts.files import is_reference, named
from rilbench.encoders import read_tensors
from rilbench.files.resources import resolve
from rilbench_metrics.extractors import Extractor, ExtractorSettings, extractor_files, make_extractor


@dataclass(frozen=True)
class FIDSettings(ExtractorSettings):
    """The features and the reference set. Set scale=1 for the published FID on Inception features.

    Unit vectors are close together: with a scale of 10 their distances are about 0.1 to 100.
    """

    reference: str = setting(
        "package:rilbench_shapes/weights/fid.safetensors",
        "`mean` (D,), `cov` (D, D) and `n` (1,) of the reference set, as `rilbench reference` writes them",
        path=True,
    )
    scale: float = setting(1.0, "factor of the features; distances are multiplied by its square", above=0, at_most=1e6)


class FID(Metric):
    """||m - m_r||^2 + tr(C + C_r - 2 (C C_r)^(1/2)), times scale^2; 0 for equal sets. NaN with fewer than 2 images.

    Biased upwards by about c/N in N images, so compare only equal N; warns once if N is smaller than D.
    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (2017), Eq. 6.
    """

    Settings = FIDSettings
    settings: FIDSettings
    higher_is_better = False

    @classmethod
    def files(cls, settings: FIDSettings) -> Sequence[NeededFile]:
        found = extractor_files(settings)
        made = not is_reference(settings.reference) and not settings.reference.startswith("package:")
        command = "rilbench reference FOLDER_OF_IMAGES --size PIXELS, with the --config and settings of the run"
        statistics_file = [NeededFile(settings.reference, made_by=command)] if made else []
        return [*dict.fromkeys([*found, *named(settings)]), *statistics_file]

    def __init__(self, settings: FIDSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.reference = read_reference(settings.reference)
        self.extract = make_extractor(settings, device)
        check_extractor(settings.reference, self.extract)
        self._warned = False
        self.reset()

    def reset(self) -> None:
        self._features: list[Tensor] = []

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> None:
        if not len(images):
            return
        with torch.no_grad():
            features = self.extract.features(images).double().cpu()
        if features.shape[1] != len(self.reference[0]):
            raise ConfigError(
                f"reference: {self.settings.reference} has {len(self.reference[0])} features, the extractor returns "
                f"{features.shape[1]}; compute the statistics with the same extractor"
            )
        self._features.append(features)

    def compute(self) -> float:
        features = torch.cat(self._features) if self._features else torch.empty(0, 0)
        if len(features) < 2:
            return float("nan")
        self._warn_if_few(*features.shape)
        return self.settings.scale**2 * frechet(*statistics(features), *self.reference)

    def _warn_if_few(self, n: int, dim: int) -> None:
        if n < dim and not self._warned:
            self._warned = True
            warnings.warn(
                f"FID of {n} images with {dim} features is strongly biased; use {2 * dim} or more", stacklevel=3
            )


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D), in float64, of features (N, D) with N >= 2."""
    features = features.double()
    return features.mean(0), features.T.cov()


def frechet(mean: Tensor, cov: Tensor, other_mean: Tensor, other_cov: Tensor) -> float:
    """The squared Frechet distance of two Gaussians with means (D,) and covariances (D, D), in float64."""
    from torchmetrics.image.fid import _compute_fid  # torchmetrics has no public function of two statistics

    distance = _compute_fid(mean.double(), cov.double(), other_mean.double(), other_cov.double())
    return max(float(distance), 0.0)  # rounding can make it slightly negative


def read_reference(path: str) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a reference file; raises ConfigError if it is missing, corrupt or not such a file."""
    tensors = read_tensors(path, "reference")
    mean, cov = tensors.get("mean"), tensors.get("cov")
    if mean is None or cov is None or mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
        raise ConfigError(f"reference: {path} needs `mean` (D,) and `cov` (D, D)")
    return mean.double(), cov.double()


def check_extractor(path: str, extractor: Extractor) -> None:
    """Raises ConfigError if the reference file was made with another extractor."""
    file = resolve(path)
    if not file.endswith(".safetensors"):
        return
    with safe_open(file, framework="pt") as tensors:
        made_with = (tensors.metadata() or {}).get("extractor")
    if made_with and made_with != extractor.label:
        raise ConfigError(
            f"reference: {path} was made with the extractor {made_with}, configured is {extractor.label}; make it "
            "again with rilbench reference, or configure the extractor it was made with"
        )
