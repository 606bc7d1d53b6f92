"""The probe: what it sees in renders and in images of the base model, and the metrics that look through it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import rilbench_shapes
from rilbench import ConfigError
from rilbench.evaluation.evaluate import generate
from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench_metrics.clip_features import Diversity
from rilbench_metrics.extractors import ExtractorSettings, make_extractor
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID
from rilbench_shapes import captions
from rilbench_shapes.attributes import Attributes, AttributesSettings, probabilities
from rilbench_shapes.probe import Probe
from rilbench_shapes.renderer import render
from rilbench_shapes.world import CONTENT, SHAPES, Scenes, sample_scenes

ROOT = Path(rilbench_shapes.__file__).parent


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe.load()


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(300, torch.Generator().manual_seed(11))


@pytest.fixture(scope="module")
def images(scenes: Scenes) -> torch.Tensor:
    return render(scenes, torch.Generator().manual_seed(11))


def scored(images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    metric = Attributes(AttributesSettings())
    scores = metric.update(images, prompts)
    assert metric.compute() == pytest.approx(scores.mean().item(), rel=1e-5)
    assert ((scores >= 0) & (scores <= 100)).all()
    return scores


def test_attributes_of_renders_are_seen_and_wrong_ones_are_not(scenes: Scenes, images: torch.Tensor) -> None:
    assert scored(images, captions.write(scenes)).mean() > 97
    other = replace(scenes, shape=(scenes.shape + 1) % len(SHAPES))
    assert scored(images, captions.write(other)).mean() < 82  # four of five are right
    shifted = {name: (getattr(scenes, name) + 1) % len(words) for name, words in CONTENT.items()}
    assert scored(images, captions.write(replace(scenes, **shifted))).mean() < 3


def test_each_attribute_has_its_own_probability(probe: Probe, scenes: Scenes, images: torch.Tensor) -> None:
    wanted = {name: getattr(scenes, name) for name in CONTENT}
    wanted["place"] = (scenes.place + 1) % len(CONTENT["place"])
    seen = probabilities(probe, images, wanted)
    assert seen["place"].mean() < 0.03
    assert all(seen[name].mean() > 0.97 for name in CONTENT if name != "place")


@pytest.mark.slow
def test_the_base_model_shows_what_it_is_asked_for() -> None:
    model = TextToImage.load(ModelConfig(path=str(ROOT / "weights" / "pipeline"), device="cpu", steps=10, guidance=2.0))
    prompts = read_prompts(str(ROOT / "prompts" / "eval.txt"))[:16]
    noise = torch.cat([evaluation_noise(3, prompt.text, range(1), model.latent_shape) for prompt in prompts])
    drawn = generate(model, prompts, noise)
    texts = [prompt.text for prompt in prompts]
    assert scored(drawn, texts).mean() > 90
    assert scored(drawn, [*texts[1:], texts[0]]).mean() < 50


def test_attributes_refuse_other_prompts() -> None:
    with pytest.raises(ConfigError, match=r"metric attributes: 'a cat' is not a caption.*leave attributes out"):
        Attributes(AttributesSettings()).update(torch.zeros(1, 3, 32, 32), ["a cat"])


def test_the_probe_refuses_images_of_another_world() -> None:
    metric = FID(FeatureSettings())
    with pytest.raises(ConfigError, match=r"32 x 32 images of `shapes`.*metric_settings\.fid\.extractor"):
        metric.update(torch.zeros(2, 3, 64, 64), ["a cat"] * 2)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"pretrained": "tag"}, "pretrained: the probe does not use it; .* as `model`"),
        ({"extractor": "inception", "model": "ViT-B-32"}, "model: extractor inception does not use it; .*`pretrained`"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_extractor(ExtractorSettings(**settings), "cpu")


def test_a_saved_probe_is_the_same_and_another_file_is_refused(tmp_path: Path, images: torch.Tensor) -> None:
    torch.manual_seed(0)
    made = Probe().eval()
    state = {name: value.half() if value.is_floating_point() else value for name, value in made.state_dict().items()}
    save_file(state, tmp_path / "probe.safetensors")
    made.load_state_dict(state)
    loaded = Probe.load(tmp_path / "probe.safetensors")
    assert torch.equal(loaded.features(images), made.features(images))
    assert not any(p.requires_grad for p in loaded.parameters())
    with pytest.raises(ConfigError, match=r"probe: .*aesthetic\.safetensors is not a probe of `shapes`"):
        Probe.load(ROOT / "weights" / "aesthetic.safetensors")


def test_features_are_standardised_over_renders(probe: Probe, images: torch.Tensor) -> None:
    features = probe.features(images)
    assert features.shape == (300, 64)
    assert features.mean(0).abs().max() < 0.25
    assert features.var(0).sub(1).abs().mean() < 0.15


def test_the_reference_set_is_of_the_shipped_probe(tmp_path: Path, images: torch.Tensor) -> None:
    metric = FID(FeatureSettings())
    metric.update(images, [""] * len(images))
    renders = metric.compute()
    metric.reset()
    metric.update(images.mean(1, keepdim=True).expand_as(images), [""] * len(images))  # all grey
    assert metric.compute() > renders + 5
    state = load_file(ROOT / "weights" / "probe.safetensors")
    state["heads.bias"] += 1
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="was made with the extractor shapes-probe-32"):
        FID(FeatureSettings(model=str(tmp_path / "other.safetensors")))
    stored = load_file(ROOT / "weights" / "fid.safetensors")
    features = stored["features"].double()
    assert features.shape == (2000, 64)
    torch.testing.assert_close(features.mean(0), stored["mean"], atol=0.1, rtol=0)


def test_diversity_looks_through_the_probe(probe: Probe, scenes: Scenes, images: torch.Tensor) -> None:
    def value(x: torch.Tensor) -> float:
        metric = Diversity(ExtractorSettings())
        metric.update(x, ["a"] * len(x))
        return metric.compute()

    assert value(images) == pytest.approx(1, abs=0.1)  # unrelated scenes
    grain = render(scenes[torch.zeros(20, dtype=torch.long)], torch.Generator().manual_seed(1))
    assert value(grain) < 0.1  # one scene, other grain


def test_clip_as_extractor_needs_its_model() -> None:
    with pytest.raises(ConfigError, match="extractor clip needs a CLIP"):
        FeatureSettings(extractor="clip")
    label = make_extractor(ExtractorSettings("clip", "package:rilbench_shapes/weights/clip"), "cpu").label
    assert label.startswith("clip-square-32 ")
