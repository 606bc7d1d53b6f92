"""`fid` with the Inception of torch-fidelity at random weights, by torch-fidelity's own functions and by ours."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_pictures import apart, pictures
from parity_records import Figure, Figures
from safetensors.torch import save_file
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from rilbench_metrics.extractors import make_extractor
from rilbench_metrics.fid import FID, FIDSettings, frechet, statistics

REFERENCE = f"torch-fidelity {version('torch-fidelity')}"
N = 48  # images of a set

pytestmark = pytest.mark.filterwarnings("ignore:FID of .* images")


@pytest.fixture(scope="module")
def weights(cache: Path) -> Path:
    """Random, in the published file's format; batch statistics too, or their use would go unseen."""
    file = cache / "inception.pth"
    if not file.exists():
        torch.save({}, cache / "empty.pth")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            state = Untrained("inception", ["2048"], feature_extractor_weights_path=str(cache / "empty.pth")).state_dict()
            for name, value in state.items():
                if name.endswith("running_mean"):
                    value.normal_(std=0.02)
        torch.save(state, file)
    return file


class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
    def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> None:
        """Keep the random weights."""


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
    extract = make_extractor("inception", "", str(weights), "cpu")
    ours = [torch.cat([extract(y) for y in x.split(8)]) for x in sets]
    scale = float(torch.cat(theirs).std(0).mean())
    extract.module.use_antialias = True  # type: ignore[assignment]
    smooth = apart(extract(sets[0][:2]), theirs[0][:2]) / scale
    shifted = apart(ours[1], theirs[1].roll(1, 0)) / scale
    seen = max(apart(a, b) for a, b in zip(ours, theirs, strict=True)) / scale
    mistakes = {"antialias": smooth, "the next picture": shifted}
    figures.check(Figure("fid", REFERENCE, "Inception features, relative", seen, 1e-3, mistakes))


def test_distance(weights: Path, sets: list[Tensor], theirs: list[Tensor], tmp_path: Path, figures: Figures) -> None:
    """From pictures to the distance, relative."""
    parts = [fid_features_to_statistics(features) for features in theirs]
    expected = fid_statistics_to_metric(*parts, verbose=False)["frechet_inception_distance"]
    mean, cov = (torch.from_numpy(parts[0][key]).double() for key in ("mu", "sigma"))
    save_file({"mean": mean, "cov": cov, "n": torch.tensor([N])}, tmp_path / "reference.safetensors")
    settings = {"extractor": "inception", "pretrained": str(weights), "scale": 1.0}
    metric = FID(FIDSettings(reference=str(tmp_path / "reference.safetensors"), **settings))
    for batch in sets[1].split(8):
        metric.update(batch, [""] * len(batch))
    biased = float((theirs[1].double().mean(0) - mean).square().sum())  # the means alone
    seen, mistaken = abs(metric.compute() / expected - 1), abs(biased / expected - 1)
    figures.check(Figure("fid", REFERENCE, "distance from pictures, relative", seen, 1e-3, {"means only": mistaken}))
    again = abs(frechet(*statistics(theirs[1]), mean, cov) / expected - 1)
    figures.check(Figure("fid", REFERENCE, "distance of equal features, relative", again, 1e-4))
