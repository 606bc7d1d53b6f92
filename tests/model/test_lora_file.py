"""Every tensor of a LoRA from elsewhere arrives as W + scale alpha / r up down says, or the file is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines
import torch
import toy
from safetensors.torch import save_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.prompt import Prompt
from rilbench.evaluation.evaluate import generate
from rilbench.files.loras import Lora
from rilbench.model.base_loras import attach
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage

UNET = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"
POINT = "down_blocks.0.attentions.0.proj_in"  # a convolution of one pixel
TEXT = "encoder.layers.0.self_attn.q_proj"
MLP = "encoder.layers.0.mlp.fc1"
Layers = dict[tuple[str, str], tuple[Tensor, Tensor, float | None]]  # part and name: down, up, alpha


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> ModelConfig:
    folder = tmp_path_factory.mktemp("place")
    return toy.config(folder, f"model.path={pipeline}", "model.steps=1").model


def factors(config: ModelConfig, *, alphas: tuple[float | None, ...] = (None,)) -> Layers:
    """Random factors of layers of all kinds, ranks 3, 4, 3, ..., alphas in turn."""
    model, generator = TextToImage.load(config), torch.Generator().manual_seed(0)
    made: Layers = {}
    places = [("unet", UNET), ("unet", CONV), ("text_encoder", TEXT), ("unet", POINT), ("unet", OUT)]
    for i, (part, name) in enumerate([*places, ("text_encoder", MLP)]):
        weight, rank = getattr(model.backbone.pipeline, part).get_submodule(name).weight, 3 + i % 2
        down = torch.randn(rank, *weight.shape[1:], generator=generator)
        up = torch.randn(len(weight), rank, *([1, 1] if weight.ndim == 4 else []), generator=generator)
        made[part, name] = (down, up, alphas[i % len(alphas)])
    return made


@torch.no_grad()
def merged(config: ModelConfig, layers: Layers, scale: float = 1.0) -> TextToImage:
    """The model whose weights are W + scale alpha / r up down."""
    model = TextToImage.load(config)
    for (part, name), (down, up, alpha) in layers.items():
        weight = getattr(model.backbone.pipeline, part).get_submodule(name).weight
        change = torch.einsum("or,r...->o...", up.flatten(1), down)
        weight += scale * (1.0 if alpha is None else alpha / len(down)) * change
    return model


def image(model: TextToImage) -> Tensor:
    return generate(model, [Prompt("a red circle")], evaluation_noise(0, "a red circle", range(1), model.latent_shape))


@torch.no_grad()
def check(config: ModelConfig, lora: Lora, layers: Layers) -> None:
    """Every layer, and the image, are those of the merged model, and not those of the untouched one."""
    model, expected, untouched = TextToImage.load(config), merged(config, layers, lora.scale), TextToImage.load(config)
    attach(model.backbone.pipeline, [lora])
    for part, name in layers:
        found, right, bare = (
            getattr(m.backbone.pipeline, part).get_submodule(name) for m in (model, expected, untouched)
        )
        weight = right.weight
        shape = (2, weight.shape[1], 8, 8) if weight.ndim == 4 else (2, weight.shape[1])
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(found(x), right(x), atol=1e-4, rtol=1e-5), name
        assert (found(x) - bare(x)).abs().max() > 0.05, name
    assert (image(model) - image(expected)).abs().max() < 1e-5


def kohya(layers: Layers) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for (part, name), (down, up, alpha) in layers.items():
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}[part] + name.replace(".", "_")
        state |= {f"{prefix}.lora_down.weight": down, f"{prefix}.lora_up.weight": up}
        state |= {} if alpha is None else {f"{prefix}.alpha": torch.tensor(float(alpha))}
    return state


def diffusers(layers: Layers) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for (part, name), (down, up, _) in layers.items():
        state |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    return state


@pytest.mark.slow
@pytest.mark.parametrize("alphas", [(0.5,), (None, 0.5, 1, 8)])
def test_kohya(config: ModelConfig, tmp_path: Path, alphas: tuple[float | None, ...]) -> None:
    layers, file = factors(config, alphas=alphas), tmp_path / "style.safetensors"
    save_file(kohya(layers), file)
    check(config, Lora(str(file), -0.5), layers)


@pytest.mark.slow
@pytest.mark.parametrize(("infix", "rslora"), [(".default", False), ("", True)])
def test_peft(config: ModelConfig, tmp_path: Path, infix: str, rslora: bool) -> None:
    """The adapter's name in the keys, alphas by pattern, and rank-stabilised scaling."""
    alpha = {UNET: 2.0, CONV: 6.0, POINT: 6.0, OUT: 6.0}
    layers = {k: (*v[:2], alpha[k[1]]) for k, v in factors(config).items() if k[0] == "unet"}
    state = {f"base_model.model.{k.removeprefix('unet.')}": v for k, v in diffusers(layers).items()}
    save_file(
        {k.replace(".weight", f"{infix}.weight"): v for k, v in state.items()}, tmp_path / "adapter_model.safetensors"
    )
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": {"attn1.to_q": 2}, "use_rslora": rslora}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"bias": "none", "use_dora": False}))
    if rslora:
        layers = {k: (down, up, a * len(down) ** 0.5) for k, (down, up, a) in layers.items()}
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        check(config, Lora(str(path)), layers)


@pytest.mark.slow
def test_diffusers_with_its_alphas(config: ModelConfig, tmp_path: Path) -> None:
    layers, file = factors(config, alphas=(8,)), tmp_path / "style.safetensors"
    inside = {f"{part}.lora_alpha": 8 for part in ("unet", "text_encoder")}
    save_file(diffusers(layers), file, metadata={"lora_adapter_metadata": json.dumps(inside)})
    check(config, Lora(str(file)), layers)


@pytest.mark.slow
def test_old_names(config: ModelConfig, tmp_path: Path) -> None:
    layers, file = factors(config), tmp_path / "style.safetensors"
    state = {
        k.replace("lora_A", "lora.down").replace("lora_B", "lora.up"): v
        for k, v in diffusers(layers).items()
        if "attn" not in k
    }
    for part, name, old in (
        ("unet", UNET, UNET.replace("to_q", "processor.to_q_lora")),
        ("unet", OUT, OUT.replace("to_out.0", "processor.to_out_lora")),
        ("text_encoder", TEXT, "text_model." + TEXT.replace("q_proj", "to_q_lora")),
    ):
        down, up, _ = layers[part, name]
        state |= {f"{part}.{old}.down.weight": down, f"{part}.{old}.up.weight": up}
    save_file(state, file)
    check(config, Lora(str(file)), layers)


@pytest.mark.slow
def test_names_that_only_a_converter_knows(tmp_path: Path) -> None:
    """kohya's Flux has one layer for query, key and value."""
    tiny_pipelines.save("flux", tmp_path / "pipeline")
    config, generator = toy.config(tmp_path, "model.steps=2").model, torch.Generator().manual_seed(0)
    model = TextToImage.load(config)
    names = [f"transformer_blocks.0.attn.to_{x}" for x in "qkv"]
    width = model.network.get_submodule(names[0]).weight.shape[0]
    down, up = torch.randn(4, width, generator=generator), torch.randn(3 * width, 4, generator=generator)
    prefix, file = "lora_unet_double_blocks_0_img_attn_qkv", tmp_path / "style.safetensors"
    state = {f"{prefix}.lora_down.weight": down, f"{prefix}.lora_up.weight": up, f"{prefix}.alpha": torch.tensor(2.0)}
    save_file(state, file)
    layers = {("transformer", n): (down, part, 2.0) for n, part in zip(names, up.chunk(3), strict=True)}
    check(config, Lora(str(file)), layers)


@pytest.fixture(scope="module")
def untouched(config: ModelConfig) -> TextToImage:
    return TextToImage.load(config)


@pytest.fixture(scope="module")
def state(config: ModelConfig) -> dict[str, Tensor]:
    return kohya(factors(config))


def refused(model: TextToImage, file: Path, told: str) -> None:
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    with pytest.raises(ConfigError, match=told):
        attach(model.backbone.pipeline, [Lora(str(file))])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


FIRST = "lora_unet_" + UNET.replace(".", "_")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({f"{FIRST}.lora_up.weight": None}, f"{FIRST}.* lora_B or lora_up"),
        ({f"{FIRST}.lora_down.weight": None}, f"{FIRST}.* lora_A or lora_down"),
        ({f"{FIRST}.lora_down.weight": torch.full((3, 8), torch.nan)}, f"{FIRST} has weights .* not finite"),
        ({f"{FIRST}.alpha": torch.tensor(torch.inf)}, f"{FIRST} has weights or an alpha that are not finite"),
        ({"lora_unet_away.alpha": torch.tensor(1.0)}, r"lora_unet_away\.alpha has no weights"),
        ({f"{FIRST}.lora_down.weight": torch.ones(5, 8)}, f"the factors of {FIRST} have shapes"),
        ({f"{FIRST}.lora_down.weight": torch.ones(3, 9)}, f"{FIRST} changes weights of shape"),
        ({f"{FIRST}.dora_scale": torch.ones(8, 1)}, r"dora_scale .*plain LoRA"),
        ({f"{FIRST}.lora_mid.weight": torch.ones(3, 3, 3, 3)}, r"lora_mid\.weight is not a factor"),
        ({f"{FIRST}.hada_w1_a": torch.ones(8, 3)}, "hada_w1_a is not a factor"),
        ({f"{FIRST}.lokr_w1": torch.ones(8, 3)}, "lokr_w1 is not a factor"),
        ({f"{FIRST}.diff_b": torch.ones(8)}, "diff_b is not a factor"),
        ({f"{FIRST}.lora_B.bias": torch.ones(8)}, r"lora_B\.bias is not a factor"),
        ({f"{FIRST}.w_norm": torch.ones(8)}, "w_norm is not a factor"),
        ({f"{FIRST}.lora_A.weight": torch.ones(3, 8)}, "the same factor"),
        ({f"{FIRST}.lora_down.other.weight": torch.ones(3, 8)}, "several adapters"),
        ({f"lora_unet_{UNET}".replace(".", "_").replace("to_q", "to_z") + f".{n}": v for n, v in
          (("lora_down.weight", torch.ones(3, 8)), ("lora_up.weight", torch.ones(8, 3)))}, "lacks.*: lora_unet_.*to_z"),
    ],
)  # fmt: skip
def test_what_cannot_be_applied_is_refused(
    untouched: TextToImage, state: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], told: str
) -> None:
    file = tmp_path / "style.safetensors"
    save_file({k: v for k, v in (state | change).items() if v is not None}, file)
    refused(untouched, file, told)


@pytest.mark.parametrize(
    "setting",
    [
        {"use_dora": True},
        {"bias": "lora_only"},
        {"peft_type": "LOHA"},
        {"modules_to_save": ["conv_out"]},
        {"init_lora_weights": "pissa"},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
    ],
)
def test_settings_of_peft_that_ask_for_more_are_refused(
    untouched: TextToImage, tmp_path: Path, setting: dict[str, Any]
) -> None:
    name = f"base_model.model.{UNET}.lora_"
    save_file(
        {f"{name}A.weight": torch.ones(3, 8), f"{name}B.weight": torch.ones(8, 3)},
        tmp_path / "adapter_model.safetensors",
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 3, "lora_alpha": 3} | setting))
    refused(untouched, tmp_path, f"its setting {next(iter(setting))}=.* plain LoRA")


@pytest.mark.parametrize("scale", ["nan", "inf", "-inf", "1e999"])
def test_a_scale_is_finite(tmp_path: Path, scale: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match=rf"model\.lora: .*the scale '{scale}' is not a finite number"):
        toy.config(tmp_path, f"model.lora={tmp_path}/a.safetensors@{scale}")
