"""`fid`: the Frechet distance between the features of the images and those of a reference set; `fid_inf`: without the
bias that it has for few images."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from rilbench import ConfigError
from rilbench_metrics.feature_sets import Distance, FeatureSet, Jackknife


class FID(FeatureSet):
    """||m - m_r||^2 + tr(C + C_r - 2 (C C_r)^(1/2)), times scale^2; 0 for equal sets. NaN with fewer than 2 images.

    Biased upwards by about c/N in N images, so compare only equal N; `fid_inf` has no such bias. The interval is that
    of FID in as many images. Warns once if N is smaller than D.
    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (2017), Eq. 6.
    """

    _warned = False

    def read(self, reference: dict[str, Tensor]) -> int:
        mean, cov = reference.get("mean"), reference.get("cov")
        if mean is None or cov is None or mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
            raise ConfigError(f"reference: {self.settings.reference} needs `mean` (D,) and `cov` (D, D)")
        self.mean, self.cov = mean.double(), cov.double()
        return len(mean)

    def distance(self, features: Tensor, prompts: Tensor) -> Distance:
        frechet = Frechet(features, self.mean, self.cov)
        return lambda chosen: self.settings.scale**2 * frechet(chosen[prompts])

    def compute(self) -> float:
        if 1 < len(self._prompts) < self.dim and not self._warned:
            self._warned = True
            warnings.warn(
                f"FID of {len(self._prompts)} images with {self.dim} features is strongly biased; use "
                f"{2 * self.dim} or more, or kid",
                stacklevel=2,
            )
        return super().compute()

    def interval(self) -> tuple[float, float] | None:
        bounds = super().interval()
        return (max(bounds[0], 0.0), bounds[1]) if bounds else None


class UnbiasedFID(FID):
    """FID extrapolated to infinitely many prompts, by the jackknife over prompts; NaN with fewer than 3 prompts.

    The difference to `fid` is its bias. By chance it can be slightly negative for sets that are alike.
    Source: Chong and Forsyth, Effectively Unbiased FID (2020), with the jackknife in place of a fit to subsets.
    """

    def compute(self) -> float:
        value = super().compute()
        return value if self.jackknife() else float("nan")

    def estimate(self, found: Jackknife) -> float:
        return found.corrected

    def interval(self) -> tuple[float, float] | None:
        return FeatureSet.interval(self)


class Frechet:
    """The squared Frechet distance, in float64, of rows of features (N, D) from a Gaussian; NaN for fewer than 2.

    tr (C C_r)^(1/2) is the sum of the singular values of the centred rows times C_r^(1/2), over sqrt(n - 1).
    """

    def __init__(self, features: Tensor, mean: Tensor, cov: Tensor) -> None:
        values, vectors = torch.linalg.eigh(cov.double())
        root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
        self.features, self.mean, self.trace = features.double(), mean.double(), cov.double().trace()
        self.projected = self.features @ root

    def __call__(self, rows: Tensor) -> float:
        """rows: a mask (N,)."""
        features, projected = self.features[rows], self.projected[rows]
        n, dim = features.shape
        if n < 2:
            return float("nan")
        z = (projected - projected.mean(0)) / (n - 1) ** 0.5
        gram = z.T @ z if n > dim else z @ z.T
        cross = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
        apart = (features.mean(0) - self.mean).square().sum()
        distance = apart + features.var(0).sum() + self.trace - 2 * cross
        return max(float(distance), 0.0)  # rounding can make it slightly negative


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and unbiased covariance (D, D), in float64, of features (N, D) with N >= 2."""
    features = features.double()
    return features.mean(0), features.T.cov()
