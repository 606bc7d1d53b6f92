"""`kid`: the kernel distance between the features of the images and those of a reference set."""

from __future__ import annotations

import torch
from torch import Tensor

from rilbench import ConfigError
from rilbench_metrics.feature_sets import Distance, FeatureSet


class KID(FeatureSet):
    """The unbiased squared MMD of the kernel (x . y / D + 1)^3; about 0 for equal sets, negative by chance.

    All pairs are used, not random subsets, except pairs of images of one prompt, which are not independent: the mean
    does not depend on how many images there are. NaN with fewer than 2 prompts.
    Source: Binkowski et al., Demystifying MMD GANs (2018).
    """

    def read(self, reference: dict[str, Tensor]) -> int:
        sample = reference.get("features")
        if sample is None or sample.ndim != 2 or len(sample) < 2:
            raise ConfigError(
                f"reference: {self.settings.reference} has no `features` (M, D), which kid needs; make it again with "
                "rilbench reference"
            )
        self.sample = self.settings.scale * sample.double()
        pairs = kernel(self.sample, self.sample)
        self.among = float((pairs.sum() - pairs.trace()) / (len(sample) * (len(sample) - 1)))
        return sample.shape[1]

    def distance(self, features: Tensor, prompts: Tensor) -> Distance:
        count, features = int(prompts.max()) + 1, self.settings.scale * features
        sizes = torch.bincount(prompts).double()
        within = torch.zeros(count, count, dtype=torch.float64)  # sums over pairs of prompts
        across = torch.zeros(count, dtype=torch.float64)
        for p in range(count):
            rows = features[prompts == p]
            within[p].index_add_(0, prompts, kernel(rows, features).sum(0))
            across[p] = kernel(rows, self.sample).mean(1).sum()
        within.fill_diagonal_(0)

        def squared_mmd(chosen: Tensor) -> float:
            n = sizes[chosen].sum()
            pairs = n**2 - sizes[chosen].square().sum()  # 0 / 0 for a single prompt
            return float(within[chosen][:, chosen].sum() / pairs + self.among - 2 * across[chosen].sum() / n)

        return squared_mmd


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x . y / D + 1)^3 of every pair, (N, M), of features (N, D) and (M, D)."""
    return (x @ y.T / x.shape[1] + 1) ** 3
