"""Every family of pipelines, tiny and random: diffusers' own images, two stages of training, LoRA files that load."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines
import torch
import toy
from tiny_pipelines import load_plain, theirs
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.evaluation.evaluate import generate
from rilbench.model.attach import adapter_group
from rilbench.model.config import AdapterConfig, ModelConfig
from rilbench.model.files import save_pair
from rilbench.model.text_to_image import TextToImage

FAMILIES = sorted(tiny_pipelines.FAMILIES)
SPACING = {"sd_turbo": "trailing"}  # its steps must divide 1000: diffusers' DDIM rounds otherwise
PROMPTS = ["a red circle", "nothing at all"]
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers' Euler


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("families")
    return {family: tiny_pipelines.save(family, place / family) for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(family: str, folders: dict[str, Path], **changes: Any) -> ModelConfig:
    plain: dict[str, Any] = {"steps": 4, "guidance": 3.0, "resolution": 16, "device": "cpu"}
    return ModelConfig(path=str(folders[family]), spacing=SPACING.get(family, "leading"), **plain | changes)


def noise(model: TextToImage) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))


def image(model: TextToImage) -> Tensor:
    return model.decode(model.rollout(noise(model), PROMPTS))


def new_pair(model: TextToImage) -> LoraPair:
    """The pair that the model trains from now on; the same each time."""
    group = adapter_group(model.network, targets=TARGETS)
    generator = torch.Generator().manual_seed(3)
    pair = LoraPair.initialised(group.layers, rank=2, init="paper", generator=generator).trainable()
    group.start(pair)
    return pair


@pytest.mark.slow
def test_images_are_those_of_diffusers(family: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(family, folders)
    model = TextToImage.load(config)
    expected = theirs(load_plain(family, folders[family]), family, noise(model), PROMPTS, config, monkeypatch)
    assert expected.std() > 0.01  # or the test says nothing
    assert torch.allclose(image(model), expected, atol=1e-5)
    assert not torch.allclose(image(model), image(TextToImage.load(settings(family, folders, steps=5))), atol=1e-3)


GUIDED = ("sd_turbo", "stable_diffusion_2", "stable_diffusion_3", "stable_diffusion_xl")  # by a second branch


@pytest.mark.slow
def test_negative_prompts_are_those_of_diffusers(
    family: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting holds for a prompt without one of its own; a model without an unguided branch refuses it, and warns
    of those in a file."""
    config = settings(family, folders, negative_prompt="dull")
    prompts = [Prompt(PROMPTS[0]), Prompt(PROMPTS[1], "a ring")]
    if family not in GUIDED:
        with pytest.raises(ConfigError, match=r"model\.negative_prompt: has no effect: this \w+ runs no unguided"):
            TextToImage.load(config)
        told = TextToImage.load(settings(family, folders)).remarks(prompts, "a file")
        assert [text[:62] for text in told] == ["a file: 1 of 2 prompts have a negative prompt without effect: "]
        return
    model = TextToImage.load(config)
    untouched = image(TextToImage.load(settings(family, folders)))
    plain, avoided = load_plain(family, folders[family]), ["dull", "a ring"]
    expected = theirs(plain, family, noise(model), PROMPTS, config, monkeypatch, negative_prompt=avoided)
    found = generate(model, prompts, noise(model))
    assert torch.allclose(found, expected, atol=1e-5)
    assert all((found - untouched).abs().amax((1, 2, 3)) > 1e-3)
    assert model.remarks(prompts, "") == []


def test_a_negative_prompt_without_guidance(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"has no effect: guidance is off \(model\.guidance=1\); set it above 1"):
        TextToImage.load(settings("sd_turbo", folders, guidance=1.0, negative_prompt="dull"))


@pytest.mark.slow
def test_a_pair_on_disk_is_a_lora_of_the_pipeline(
    family: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Diffusers, given our file, makes our images."""
    config = settings(family, folders)
    model = TextToImage.load(config)
    untouched = image(model)
    group = adapter_group(model.network, targets=TARGETS)
    pair = toy.random_pair(group, 2)
    save_pair(tmp_path, pair, AdapterConfig(rank=2, targets=TARGETS), model.backbone.prefix)
    group.load_chain([(pair, 1.0)])
    assert (image(model) - untouched).abs().max() > 1e-3
    plain = load_plain(family, folders[family])
    plain.load_lora_weights(tmp_path, weight_name="adapter_model.safetensors")
    expected = theirs(plain, family, noise(model), PROMPTS, config, monkeypatch)
    assert torch.allclose(image(model), expected, atol=1e-5)


@pytest.mark.slow
def test_two_stages(family: str, folders: dict[str, Path], workplace: Path) -> None:
    """Of RID: its loss is the baseline's and the distance to a second pair on the same model."""
    changes = [
        f"model.path={folders[family]}",
        "model.resolution=16",
        "model.steps=2",
        f"model.spacing={SPACING.get(family, 'leading')}",
        "strategy=rid",
        "train.samples=4",
    ]
    result = toy.run(workplace, *changes).result
    first, last = result.matrix.values("red")[0], result.matrix.values("red")[2]
    assert math.isfinite(last)
    assert first != last
    assert result.matrix.values("red")[1] > first - 0.01
    assert [row.label for row in result.matrix.rows] == ["base", "red", "dark"]


@pytest.mark.slow
def test_all_that_the_denoiser_is_given_is_on_its_device(family: str, folders: dict[str, Path]) -> None:
    """A tensor left on the CPU would be an error beside a device without data, as it is beside a GPU."""
    model = TextToImage.load(settings(family, folders))
    condition, nothing = model.encode(PROMPTS), model.encode([None, None])
    latents = noise(model)[:, : model.backbone.channels].to("meta")
    model.network.to("meta")
    model.backbone.device = "meta"
    away = [{key: value.to("meta") for key, value in found.items()} for found in (condition, nothing)]
    assert model._prediction(latents, model.sampler.time(1), *away, together=True).shape == latents.shape
    with pytest.raises(RuntimeError, match="device"):
        model._prediction(latents, model.sampler.time(1), condition, nothing, together=True)


@pytest.mark.slow
def test_half_precision_is_that_of_diffusers(
    family: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further from its bfloat16 than that is from float32; nothing needs autocast, with pairs or without."""
    plain = load_plain(family, folders[family])
    config = settings(family, folders, precision="bf16")
    model = TextToImage.load(config)
    exact = theirs(plain, family, noise(model), PROMPTS, config, monkeypatch)
    error = (image(model) - exact).abs().mean()
    half = plain.to(torch.bfloat16)
    half.vae.to(torch.float32)
    decode = half.vae.decode
    monkeypatch.setattr(half.vae, "decode", lambda z, **options: decode(z.float(), **options))
    rounded = (theirs(half, family, noise(model).bfloat16(), PROMPTS, config, monkeypatch).float() - exact).abs().mean()
    assert 0 < error < 1.5 * rounded
    group = adapter_group(model.network, targets=TARGETS)
    assert group.base[next(iter(group.layers))].data_ptr() == next(iter(group.layers.values())).weight.data_ptr()
    untouched = image(model)
    group.load_chain([(toy.random_pair(group, 1), 1.0)])
    group.start(toy.random_pair(group, 2).trainable())
    with torch.no_grad():
        with group.folded():
            together = image(model)
        apart = image(model)  # two branches, as in training
    assert 0 < (together - apart).abs().mean() < 0.2 * (together - untouched).abs().mean()
    z_0 = model.finish(model.rollout(noise(model), PROMPTS, stop=1), PROMPTS, last_steps=1)
    assert z_0.dtype == torch.float32
    assert all(g.dtype == torch.float32 for g in torch.autograd.grad(z_0.mean(), group.pair.factors))


@pytest.mark.slow
def test_guidance_up_to_one_is_none(folders: dict[str, Path]) -> None:
    """As in diffusers, whose few-step models are used with 0: not the unguided image."""
    images = [image(TextToImage.load(settings("sd_turbo", folders, guidance=g))) for g in (0.0, 0.5, 1.0, 1.5)]
    assert torch.equal(images[0], images[2])
    assert torch.equal(images[1], images[2])
    assert not torch.allclose(images[3], images[2], atol=1e-4)


@pytest.mark.slow
def test_conditions_do_not_depend_on_the_batch(family: str, folders: dict[str, Path]) -> None:
    model, other = (TextToImage.load(settings(family, folders)) for _ in range(2))
    together, alone = model.encode(PROMPTS), other.encode(PROMPTS[1:])
    assert all(torch.equal(together[key][1:], alone[key]) for key in together)
    assert any(not torch.equal(value[0], value[1]) for value in together.values())


@pytest.mark.slow
def test_memory_levers_change_rounding_only(family: str, folders: dict[str, Path]) -> None:
    def gradient(**changes: Any) -> Tensor:
        model = TextToImage.load(settings(family, folders, **changes))
        pair = new_pair(model)
        z = model.rollout(noise(model), PROMPTS, stop=1)
        images = model.decode(model.finish(z, PROMPTS, last_steps=1))
        found = torch.autograd.grad(images[:, 0].mean(), pair.factors, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None])

    plain = gradient()
    assert plain.norm() > 0
    for lever in ("gradient_checkpointing", "vae_slicing"):
        assert (gradient(**{lever: True}) - plain).norm() / plain.norm() < 1e-4


@pytest.mark.slow
def test_guidance_without_gradient(folders: dict[str, Path]) -> None:
    """The same images; of the gradient, the unguided branch's part is missing."""
    found = {}
    for wanted in (True, False):
        model = TextToImage.load(settings("stable_diffusion_2", folders, guidance_gradient=wanted))
        pair = new_pair(model)
        z = model.rollout(noise(model), PROMPTS, stop=1)
        z_0 = model.finish(z, PROMPTS, last_steps=1)
        found[wanted] = z_0.detach(), _flat(torch.autograd.grad(z_0.mean(), pair.factors))
    images, gradients = zip(*found.values(), strict=True)
    assert torch.allclose(images[0], images[1], atol=1e-6)
    # by hand: guidance times the gradient of the guided prediction alone
    unguided = TextToImage.load(settings("stable_diffusion_2", folders, guidance=1.0))
    pair = new_pair(unguided)
    alone = _flat(torch.autograd.grad(unguided.finish(z, PROMPTS, last_steps=1).mean(), pair.factors))
    assert torch.allclose(gradients[1], 3.0 * alone, rtol=1e-3, atol=1e-7)
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-2)


def _flat(gradients: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients])


@pytest.mark.slow
def test_the_last_steps_in_half_precision_round_no_activation(family: str, folders: dict[str, Path]) -> None:
    """They are those of a float32 model with the same rounded weights and texts, also where checkpointing runs them
    again; the weights stay as they are."""
    half = TextToImage.load(settings(family, folders, precision="bf16", gradient_checkpointing=True))
    whole = TextToImage.load(settings(family, folders))
    for (name, rounded), exact in zip(_tensors(half.network), dict(_tensors(whole.network)).values(), strict=True):
        assert rounded.dtype in (torch.bfloat16, torch.float32), name
        exact.data.copy_(rounded)
    z, outputs = noise(half), []
    half.encode([*PROMPTS, None])
    whole._conditions = {k: {n: v.float() for n, v in found.items()} for k, found in half._conditions.items()}
    before = {name: tensor.clone() for name, tensor in _tensors(half.network)}
    for model in (half, whole):
        group = adapter_group(model.network, targets=TARGETS)
        pair = toy.random_pair(group, 2).trainable()
        group.start(pair)
        z_0 = model.finish(z, PROMPTS, last_steps=2)
        gradient = _flat(torch.autograd.grad(z_0.pow(2).mean(), pair.factors))
        rolled = model.rollout(z, PROMPTS)
        outputs.append((z_0.detach(), gradient, rolled))
    for found, expected in list(zip(*outputs, strict=True))[:2]:
        assert (found - expected).norm() < 1e-5 * expected.norm()
    rounding = (outputs[0][2] - outputs[1][2]).norm() / outputs[1][2].norm()
    assert rounding > 1e-4  # or the test says nothing
    assert all(torch.equal(tensor, before[name]) for name, tensor in _tensors(half.network))


def _tensors(network: Any) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


@pytest.mark.slow
def test_an_autoencoder_is_in_float32_unless_set_otherwise(folders: dict[str, Path]) -> None:
    def dtypes(family: str, **changes: Any) -> tuple[torch.dtype, torch.dtype]:
        model = TextToImage.load(settings(family, folders, precision="bf16", **changes))
        assert torch.isfinite(image(model)).all()
        return model.vae.dtype, next(model.network.parameters()).dtype

    assert dtypes("stable_diffusion_xl") == (torch.float32, torch.bfloat16)
    assert dtypes("stable_diffusion_xl", vae_precision="bf16") == (torch.bfloat16, torch.bfloat16)
    assert dtypes("flux") == (torch.float32, torch.bfloat16)


def test_a_model_of_no_known_family(pipeline: Path, tmp_path: Path) -> None:
    index = json.loads((pipeline / "model_index.json").read_text()) | {"_class_name": "WuerstchenPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=r"is a WuerstchenPipeline; known are Stable.*FluxPipeline"):
        TextToImage.load(ModelConfig(path=str(tmp_path), device="cpu"))


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "vae/config.json",
            {"latents_mean": [0.1] * 4, "latents_std": [1.0] * 4},
            "its autoencoder shifts each channel",
        ),
        (
            "model_index.json",
            {"scheduler": ["diffusers", "EDMEulerScheduler"]},
            "its scheduler, EDMEulerScheduler, has",
        ),
    ],
)
def test_a_model_that_would_be_sampled_wrongly(
    file: str, changes: dict[str, Any], message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["stable_diffusion_xl"], tmp_path / "model")
    values = json.loads((tmp_path / "model" / file).read_text())
    (tmp_path / "model" / file).write_text(json.dumps(values | changes))
    (tmp_path / "model/scheduler/scheduler_config.json").write_text(
        json.dumps({"_class_name": "EDMEulerScheduler", "num_train_timesteps": 1000})
        if "scheduler" in changes
        else (folders["stable_diffusion_xl"] / "scheduler/scheduler_config.json").read_text()
    )
    with pytest.raises(ConfigError, match=message):
        TextToImage.load(ModelConfig(path=str(tmp_path / "model"), device="cpu"))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("flux", {"resolution": 18}, "model.resolution: 18 is not a multiple of 4"),
        ("stable_diffusion_xl", {"resolution": 16384}, r"model\.resolution: 16384 is more than 4 times the \d+ pixels"),
        ("stable_diffusion_3", {"resolution": 2}, "model.resolution: 2 is not a multiple of 4"),
        ("stable_diffusion_3", {"sampler": "ddim"}, "model.sampler: ddim is not for a flow-matching model"),
        ("latent_consistency", {"steps": 51}, "model.steps: 51 is more than the 50 of this consistency model"),
        ("stable_diffusion_xl", {"steps": 1001}, "model.steps: 1001 is more than the model's 1000"),
        ("stable_diffusion_xl", {"steps": 1000}, "with 1000 steps the first is timestep 1000.*steps_offset is 1"),
    ],
)
def test_settings_a_family_cannot_have(
    family: str, changes: dict[str, Any], message: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(ConfigError, match=message):
        TextToImage.load(settings(family, folders, **changes))
