"""`fid` with the Inception of torch-fidelity at random weights, by torch-fidelity's own functions and by ours."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from inception_weights import save_inception
from parity_pictures import apart, pictures
from parity_records import Figure, Figures
from safetensors.torch import save_file
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from rilbench_metrics.extractors import ExtractorSettings, make_extractor
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID, statistics

REFERENCE = f"torch-fidelity {version('torch-fidelity')}"
N = 48  # images of a set

pytestmark = pytest.mark.filterwarnings("ignore:FID of .* images")


@pytest.fixture(scope="module")
def weights(cache: Path) -> Path:
    file = cache / "inception.pth"
    return file if file.exists() else save_inception(file)


@pytest.fixture(scope="module")
def sets() -> list[Tensor]:
    """Two sets of pictures of two shapes, larger and smaller than the 299 pixels of the network."""
    one, other = pictures(N, 320, 320, seed=1), pictures(N, 256, 256, seed=2).flip(1) * 0.9
    return [one, (other * 255).round() / 255]


@pytest.fixture(scope="module")
def theirs(weights: Path, sets: list[Tensor]) -> list[Tensor]:
    """Features (N, 2048) of both sets."""
    network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
    with torch.no_grad():
        batches = [[network((y * 255).round().to(torch.uint8))[0] for y in x.split(8)] for x in sets]
    return [torch.cat(batch) for batch in batches]


@torch.no_grad()
def test_features(weights: Path, sets: list[Tensor], theirs: list[Tensor], figures: Figures) -> None:
    """Relative to their deviation over the images."""
    extract = make_extractor(ExtractorSettings("inception", pretrained=str(weights)), "cpu")
    ours = [torch.cat([extract.features(y) for y in x.split(8)]) for x in sets]
    scale = float(torch.cat(theirs).std(0).mean())
    extract.module.use_antialias = True  # type: ignore[assignment]
    smooth = apart(extract.features(sets[0][:2]), theirs[0][:2]) / scale
    shifted = apart(ours[1], theirs[1].roll(1, 0)) / scale
    seen = max(apart(a, b) for a, b in zip(ours, theirs, strict=True)) / scale
    mistakes = {"antialias": smooth, "the next picture": shifted}
    figures.check(Figure("fid", REFERENCE, "Inception features, relative", seen, 1e-3, mistakes))


def test_distance(weights: Path, sets: list[Tensor], theirs: list[Tensor], tmp_path: Path, figures: Figures) -> None:
    """From pictures to the distance, relative."""
    parts = [fid_features_to_statistics(features) for features in theirs]
    expected = fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"]
    mean, cov = statistics(theirs[0])
    save_file({"mean": mean, "cov": cov, "n": torch.tensor([N])}, tmp_path / "reference.safetensors")
    settings = {"extractor": "inception", "pretrained": str(weights), "scale": 1.0}
    metric = FID(FeatureSettings(reference=str(tmp_path / "reference.safetensors"), **settings))
    for batch in sets[1].split(8):
        metric.update(batch, [""] * len(batch))
    ours, exact = metric.compute(), by_singular_values(*theirs)
    means = float((statistics(theirs[1])[0] - mean).square().sum())
    mistakes = {"means alone": abs(means / expected - 1)}
    figures.check(Figure("fid", REFERENCE, "distance, relative", abs(ours / expected - 1), 1e-4, mistakes))
    figures.check(Figure("fid", "singular values", "distance, relative", abs(ours / exact - 1), 1e-4, mistakes))


def by_singular_values(one: Tensor, other: Tensor) -> float:
    """The same distance without a matrix root: tr (C C')^(1/2) is the sum of the singular values of A A'^T / (N - 1),
    where A, A' are the centred features (N, D) and C = A^T A / (N - 1)."""
    means, centred = zip(*((x.double().mean(0), x.double() - x.double().mean(0)) for x in (one, other)), strict=True)
    traces = sum(x.square().sum() for x in centred)
    shared = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    return float((means[0] - means[1]).square().sum() + (traces - 2 * shared) / (len(one) - 1))
