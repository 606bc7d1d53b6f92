"""A network that a package brings for `fid` and `diversity`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import images
from safetensors.torch import save_file

from rilbench import ConfigError, PluginError
from rilbench.contracts.settings import build
from rilbench_metrics.clip_features import Diversity
from rilbench_metrics.extractors import ExtractorSettings, extractor_files, make_extractor
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID, statistics

QUARTERS = "toy_extractor:Quarters"


def quarters(x: torch.Tensor) -> torch.Tensor:
    """Mean colours (B, 12), by hand."""
    half = x.shape[-1] // 2
    parts = [part.mean((2, 3)) for rows in x.split(half, -2) for part in rows.split(half, -1)]
    return torch.stack(parts, -1).flatten(1)


def save_statistics(file: Path, x: torch.Tensor, label: str) -> str:
    mean, cov = statistics(quarters(x))
    save_file({"mean": mean, "cov": cov, "n": torch.tensor([len(x)])}, file, metadata={"extractor": label})
    return str(file)


def test_fid_compares_the_features_of_a_network_of_a_package(tmp_path: Path) -> None:
    x, chosen = images(40, 3, 16, 16), ExtractorSettings(QUARTERS)
    extractor = make_extractor(chosen, "cpu")
    torch.testing.assert_close(extractor.features(x), quarters(x))
    assert not any(p.requires_grad for p in extractor.module.parameters())
    reference = save_statistics(tmp_path / "fid.safetensors", x, extractor.label)
    metric = FID(FeatureSettings(extractor=QUARTERS, reference=reference, scale=1.0))
    metric.update(x + 0.1, [""] * 40)
    assert metric.compute() == pytest.approx(12 * 0.1**2, rel=1e-3)  # moved by 0.1 in each of 12 features
    with pytest.raises(ConfigError, match=r"made with the extractor quarters \w{64}, configured is quarters"):
        FID(FeatureSettings(extractor=QUARTERS, pretrained="2", reference=reference))


def test_diversity_compares_directions_of_features() -> None:
    x = images(6, 3, 16, 16)
    metric = Diversity(ExtractorSettings(QUARTERS, pretrained="3"))
    metric.update(x, ["a"] * 4 + ["b"] * 2)
    unit = F.normalize(quarters(x).double())
    expected = [1 - (u @ u.T)[~torch.eye(len(u), dtype=torch.bool)].mean() for u in (unit[:4], unit[4:])]
    assert metric.compute() == pytest.approx(float(sum(expected)) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("toy_extractor:NoSuch", "extractor toy_extractor:NoSuch cannot be imported"),
        ("gone.package:Dino", "extractor gone.package:Dino cannot be imported"),
        ("pathlib:Path", "is not a subclass of rilbench_metrics.extractors.Extractor"),
    ],
)
def test_a_wrong_class_is_refused_before_anything_is_loaded(name: str, match: str) -> None:
    with pytest.raises(PluginError, match=match):
        extractor_files(ExtractorSettings(name))


def test_an_unknown_name_is_an_error_of_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"metric_settings\.fid\.extractor: unknown extractor 'klip'.*'clip'.*Class"):
        build(FeatureSettings, {"extractor": "klip"}, "metric_settings.fid")
