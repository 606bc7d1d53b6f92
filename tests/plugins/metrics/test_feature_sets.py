"""FID's interval and bias, and KID, on features that are known Gaussians: the extractor returns the images."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rilbench import ConfigError
from rilbench_metrics.extractors import Extractor, ExtractorSettings
from rilbench_metrics.feature_sets import FeatureSet, FeatureSettings
from rilbench_metrics.fid import FID, UnbiasedFID
from rilbench_metrics.kid import KID

DIM, EACH = 6, 4
SHIFT = 0.5  # of every mean; the reference is standard


class Pixels(Extractor):
    """The features are the pixels."""

    kind = "pixels"

    def __init__(self, settings: ExtractorSettings, device: str) -> None:
        self.module = torch.nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)


@pytest.fixture
def settings(tmp_path: Path) -> FeatureSettings:
    """Of a standard Gaussian."""
    file = str(tmp_path / "reference.safetensors")
    sample = torch.randn(1000, DIM, generator=torch.Generator().manual_seed(0))
    save_file({"mean": torch.zeros(DIM), "cov": torch.eye(DIM), "features": sample.half()}, file)
    return FeatureSettings(extractor=f"{__name__}:Pixels", reference=file)


def drawn(rng: np.random.Generator, prompts: int) -> Tensor:
    """Images (N, D) of prompts: half of the variance, 1 in all, is between prompts."""
    between, within = rng.normal(size=(prompts, 1, DIM)), rng.normal(size=(prompts, EACH, DIM))
    return torch.from_numpy(SHIFT + (between + within) / 2**0.5).flatten(0, 1)


def shown(metric: FeatureSet, features: Tensor) -> FeatureSet:
    metric.reset()
    metric.update(features, [f"prompt {i // EACH}" for i in range(len(features))])
    return metric


def test_fid_inf_has_no_bias_and_intervals_cover(settings: FeatureSettings) -> None:
    """FID in 30 prompts of 4 images is above the distance; fid_inf is right on the mean, and its interval too."""
    rng, fid, unbiased = np.random.default_rng(1), FID(settings), UnbiasedFID(settings)
    values, corrected, bounds = [], [], []
    for _ in range(120):
        features = drawn(rng, 30)
        values.append(shown(fid, features).compute())
        corrected.append(shown(unbiased, features).compute())
        bounds.append((fid.interval(), unbiased.interval()))
    truth, expected = DIM * SHIFT**2, np.mean(values)
    assert expected > 1.1 * truth
    assert np.mean(corrected) == pytest.approx(truth, abs=3 * np.std(corrected) / 120**0.5)
    covered = [(of_fid[0] <= expected <= of_fid[1], inf[0] <= truth <= inf[1]) for of_fid, inf in bounds]
    assert all(0.9 < share < 0.99 for share in np.mean(covered, axis=0))


def test_kid_is_the_mean_over_pairs_of_different_prompts(settings: FeatureSettings) -> None:
    features = drawn(np.random.default_rng(2), 5)
    metric = shown(KID(settings), features)
    x, y = features.numpy(), metric.sample.numpy()

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / DIM + 1) ** 3

    own = np.mean([k(x[i], x[j]) for i in range(20) for j in range(20) if i // EACH != j // EACH])
    among = np.mean(k(y, y.T)[~np.eye(1000, dtype=bool)])
    assert metric.compute() == pytest.approx(own + among - 2 * np.mean(k(x, y.T)))


def test_kid_of_single_images_is_torchmetrics(settings: FeatureSettings) -> None:
    from torchmetrics.image.kid import poly_mmd

    sample, features = torch.randn(40, DIM).double(), drawn(np.random.default_rng(3), 10)  # of one size, for it
    save_file({"features": sample}, settings.reference)
    metric = KID(settings)
    metric.update(features, [f"prompt {i}" for i in range(40)])
    assert metric.compute() == pytest.approx(float(poly_mmd(sample, features)))


def test_kid_has_no_bias_and_its_interval_covers(settings: FeatureSettings) -> None:
    rng, metric = np.random.default_rng(4), KID(settings)
    large = shown(metric, drawn(rng, 1500)).compute()
    few = [(shown(metric, drawn(rng, 30)).compute(), metric.interval()) for _ in range(120)]
    values = [value for value, _ in few]
    assert np.mean(values) == pytest.approx(large, abs=4 * np.std(values) / 120**0.5)
    assert 0.9 < np.mean([low <= large <= high for _, (low, high) in few]) < 0.99


def test_kid_needs_features_in_the_reference(tmp_path: Path) -> None:
    file = str(tmp_path / "old.safetensors")
    save_file({"mean": torch.zeros(DIM), "cov": torch.eye(DIM)}, file)
    with pytest.raises(ConfigError, match=r"no `features`.*rilbench reference"):
        KID(FeatureSettings(extractor=f"{__name__}:Pixels", reference=file))


def test_too_few_prompts_have_no_interval_and_no_correction(settings: FeatureSettings) -> None:
    two = drawn(np.random.default_rng(5), 2)
    assert [shown(kind(settings), two).interval() for kind in (FID, UnbiasedFID, KID)] == [None] * 3
    assert math.isnan(shown(UnbiasedFID(settings), two).compute())
    assert math.isnan(shown(KID(settings), two[:EACH]).compute())


def test_more_prompts_than_blocks_are_left_out_several_at_a_time(settings: FeatureSettings) -> None:
    features = drawn(np.random.default_rng(6), 130)
    metric = shown(FID(settings), features)
    found = metric.jackknife()
    assert found is not None
    assert len(found.without) == 50
    assert sorted(set((found.shares * 130).round().tolist())) == [2, 3]
    assert float(found.influences.sum()) == pytest.approx(0, abs=1e-9)
    first = sorted(range(130), key=lambda i: sha256(f"prompt {i}".encode()).digest())[:3]  # in no order of meaning
    rest = [i for i in range(len(features)) if i // EACH not in first]
    metric.reset()
    metric.update(features[rest], [str(i) for i in rest])
    assert metric.compute() == pytest.approx(float(found.without[0]))
