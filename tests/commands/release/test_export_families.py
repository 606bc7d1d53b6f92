"""Every family of pipelines: what is exported and taken in again makes the same images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_pipelines
import torch
import toy
from diffusers import DiffusionPipeline
from torch import Tensor

from rilbench.contracts.pair import LoraPair
from rilbench.engine.config import RunConfig
from rilbench.files.loras import Lora
from rilbench.model.attach import adapter_group
from rilbench.model.base_loras import attach
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench_release import lora, merged, whole
from rilbench_release.models import denoiser, scheduler_of

FAMILIES = sorted(tiny_pipelines.FAMILIES)
TARGETS = RunConfig().adapter.targets

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers' Euler


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("families")
    return {family: tiny_pipelines.save(family, place / family) for family in FAMILIES}


def settings(folder: Path) -> ModelConfig:
    return ModelConfig(path=str(folder), steps=2, guidance=3.0, resolution=16, spacing="trailing", device="cpu")


def image(model: TextToImage) -> Tensor:
    z = torch.randn(1, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.decode(model.rollout(z, ["a red circle"]))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_out_and_in_again(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    config = settings(folders[family])
    model = TextToImage.load(config)
    prefix, untouched = denoiser(model.backbone.pipeline)[0], image(model)
    group = adapter_group(model.network, targets=TARGETS)
    chain = [(toy.random_pair(group, 1), 1.0), (toy.random_pair(group, 2), 0.5)]
    group.load_chain(chain)
    expected = image(model)
    assert (expected - untouched).abs().max() > 1e-3

    whole = LoraPair.concatenated(chain)
    lora.write_diffusers(tmp_path / "diffusers", whole, prefix=prefix, targets=TARGETS, name="it")
    lora.write_peft(tmp_path / "peft", whole, targets=TARGETS, base="")
    web = tmp_path / "diffusers" / "it-webui.safetensors"
    assert web.exists() == (prefix == "unet")
    for file in filter(Path.exists, (tmp_path / "diffusers", tmp_path / "peft", web)):
        other = TextToImage.load(config)
        attach(other.backbone.pipeline, [Lora(str(file))])
        assert (image(other) - expected).abs().max() < 1e-5, file

    assert merged.write_merged(tmp_path / "merged", config, chain) == prefix
    again = TextToImage.load(replace(config, path=str(tmp_path / "merged")))
    assert (image(again) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scheduler_of_the_card(family: str, folders: dict[str, Path]) -> None:
    own = type(DiffusionPipeline.from_pretrained(folders[family]).scheduler).__name__
    expected = None if own in ("LCMScheduler", "FlowMatchEulerDiscreteScheduler") else "DDIMScheduler"
    prefix = "unet" if (folders[family] / "unet").exists() else "transformer"
    assert scheduler_of(settings(folders[family]), prefix) == expected
    if prefix == "unet":
        assert scheduler_of(replace(settings(folders[family]), sampler="lcm"), prefix) == "LCMScheduler"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stable_diffusion_2", "flux"])
def test_layers_of_different_ranks(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """As after stages with other targets: diffusers' file, PEFT's and kohya's."""
    config = settings(folders[family])
    model = TextToImage.load(config)
    prefix, untouched = denoiser(model.backbone.pipeline)[0], image(model)
    group = adapter_group(model.network, targets=("to_q", "to_v"), earlier=("to_v", "to_k"))
    pair = toy.random_pair(group, 1)
    values = adapter_group(TextToImage.load(config).network, targets=("to_v", "to_k"))
    chain = [(toy.random_pair(values, 2), 1.0), (pair, 1.0)]
    group.load_chain(chain)
    expected, joined = image(model), LoraPair.concatenated(chain)
    assert (expected - untouched).abs().max() > 1e-3
    layers = whole.layers_of(joined, prefix)
    assert {len(factors.down) for factors in layers.values()} == {2, 4}
    whole.write_diffusers(tmp_path / "diffusers", layers, prefix=prefix, name="it")
    whole.write_peft(tmp_path / "peft", layers, prefix=prefix, base="")
    web = tmp_path / "diffusers" / "it-webui.safetensors"
    for file in filter(Path.exists, (tmp_path / "diffusers", tmp_path / "peft", web)):
        other = TextToImage.load(config)
        attach(other.backbone.pipeline, [Lora(str(file))])
        assert (image(other) - expected).abs().max() < 1e-5, file
    plain = tiny_pipelines.load_plain(family, folders[family])
    plain.load_lora_weights(str(tmp_path / "diffusers"), weight_name="pytorch_lora_weights.safetensors")
    for name in ("to_q", "to_k", "to_v"):
        (layer,) = [m for n, m in getattr(plain, prefix).named_modules() if n.endswith(name)][:1]
        assert set(layer.scaling.values()) == {1.0}
