"""`model.lora`: every family's base model with LoRAs from elsewhere makes diffusers' own images with the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lora_files
import pytest
import tiny_pipelines
import torch
import toy
from tiny_pipelines import load_plain, theirs
from torch import Tensor

from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage

FAMILIES = sorted(tiny_pipelines.FAMILIES)
PROMPTS = ["a red circle", "nothing at all"]
TEXT = ("q_proj", "out_proj", "fc1")
UNET = ("to_q", "to_out.0", "proj_in", "conv1", "ff.net.0.proj", "ff.net.2")
TRANSFORMER = ("to_q", "to_out.0", "ff.net.0.proj", "norm1.linear")
PARTS: dict[str, dict[str, tuple[str, ...]]] = {  # what diffusers itself can load, by family
    "stable_diffusion_xl": {"unet": UNET, "text_encoder": TEXT, "text_encoder_2": TEXT},
    "stable_diffusion_3": {"transformer": TRANSFORMER, "text_encoder": TEXT, "text_encoder_2": TEXT},
    "flux": {"transformer": TRANSFORMER, "text_encoder": TEXT},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # in diffusers' Euler
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # in PEFT, of a second LoRA
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("families")
    return {family: tiny_pipelines.save(family, place / family) for family in FAMILIES}


def settings(family: str, folders: dict[str, Path], *loras: str, **changes: Any) -> ModelConfig:
    spacing: Any = "trailing" if family == "sd_turbo" else "leading"
    plain: dict[str, Any] = {"steps": 4, "guidance": 3.0, "resolution": 16, "device": "cpu", "spacing": spacing}
    return ModelConfig(path=str(folders[family]), lora=loras, **plain | changes)


def noise(model: TextToImage) -> Tensor:
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))


def image(model: TextToImage) -> Tensor:
    return model.decode(model.rollout(noise(model), PROMPTS))


def written(family: str, pipeline: Any, folder: Path) -> tuple[Path, Path]:
    """A file of rank 8 with alpha 1, in kohya's names where diffusers reads them, and one of rank 3."""
    parts = PARTS.get(family, {"unet": UNET, "text_encoder": TEXT})
    made = lora_files.factors(pipeline, parts, rank=8, seed=1)
    small = lora_files.factors(pipeline, parts, rank=3, seed=2)
    style, other = folder / "style.safetensors", folder / "other.safetensors"
    if "unet" in parts:
        lora_files.save_kohya(style, made, alpha=1.0)
    else:
        lora_files.save_diffusers(style, {key: (down / 8, up) for key, (down, up) in made.items()})
    return style, lora_files.save_diffusers(other, small)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_images_are_those_of_diffusers(
    family: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, two with scales; denoiser, convolutions and text encoders. They cost nothing: no branch is left."""
    plain = load_plain(family, folders[family])
    style, other = written(family, plain, tmp_path)
    untouched = image(bare := TextToImage.load(settings(family, folders)))
    plain.load_lora_weights(str(tmp_path), weight_name=style.name, adapter_name="style")
    one = TextToImage.load(settings(family, folders, str(style)))
    expected = theirs(plain, family, noise(one), PROMPTS, one.config, monkeypatch)
    assert (expected - untouched).abs().max() > 1e-2  # or the test says nothing
    assert (image(one) - expected).abs().max() < 1e-5
    plain.load_lora_weights(str(tmp_path), weight_name=other.name, adapter_name="other")
    plain.set_adapters(["style", "other"], [0.7, -0.5])
    both = TextToImage.load(settings(family, folders, f"{style}@0.7", f"{other}@-0.5"))
    expected = theirs(plain, family, noise(both), PROMPTS, both.config, monkeypatch)
    assert (image(both) - expected).abs().max() < 1e-5
    hooks = [len(module._forward_hooks) for module in both.network.modules()]
    assert hooks == [len(module._forward_hooks) for module in bare.network.modules()]


@pytest.mark.slow
def test_kohyas_names_of_flux(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer for query, key and value, which only diffusers' converter knows, beside a text encoder."""
    from safetensors.torch import save_file

    plain = load_plain("flux", folders["flux"])
    text = lora_files.factors(plain, {"text_encoder": TEXT}, rank=8, seed=1)
    width = plain.transformer.get_submodule("transformer_blocks.0.attn.to_q").weight.shape[0]
    state = {}
    for block, rows in (("double_blocks_0_img_attn_qkv", 3 * width), ("double_blocks_0_txt_attn_qkv", 3 * width)):
        state[f"lora_unet_{block}.lora_down.weight"] = torch.randn(8, width)
        state[f"lora_unet_{block}.lora_up.weight"] = torch.randn(rows, 8)
        state[f"lora_unet_{block}.alpha"] = torch.tensor(1.0)
    for (_, name), (down, up) in text.items():
        layer = f"lora_te1_text_model_{name.removeprefix('text_model.').replace('.', '_')}"
        state |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up, f"{layer}.alpha": torch.tensor(1.0)}
    save_file(state, tmp_path / "style.safetensors")
    plain.load_lora_weights(str(tmp_path), weight_name="style.safetensors", adapter_name="style")
    plain.set_adapters(["style"], [0.5])
    model = TextToImage.load(settings("flux", folders, f"{tmp_path}/style.safetensors@0.5"))
    expected = theirs(plain, "flux", noise(model), PROMPTS, model.config, monkeypatch)
    assert (expected - image(TextToImage.load(settings("flux", folders)))).abs().max() > 1e-2
    assert (image(model) - expected).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stable_diffusion_xl", "flux"])
def test_half_precision_keeps_small_changes(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """A change below the rounding of the weights moves the last steps as far as it does in float32. Of the denoiser
    alone: half a text encoder rounds its text."""
    plain = load_plain(family, folders[family])
    part = next(iter(PARTS[family]))
    made = lora_files.factors(plain, {part: PARTS[family][part]}, rank=8, seed=1)
    lora, finished = f"{lora_files.save_kohya(tmp_path / 'style.safetensors', made, alpha=1.0)}@0.01", {}
    if part == "transformer":
        lora = f"{lora_files.save_diffusers(tmp_path / 'style.safetensors', made)}@0.001"
    for precision in ("fp32", "bf16"):
        for loras in ((), (lora,)):
            model = TextToImage.load(settings(family, folders, *loras, precision=precision))
            finished[precision, bool(loras)] = model.finish(noise(model), PROMPTS, last_steps=2)
            assert finished[precision, bool(loras)].dtype == torch.float32
    exact = finished["fp32", True] - finished["fp32", False]
    half = finished["bf16", True] - finished["bf16", False]
    assert exact.norm() > 0
    assert (half - exact).norm() < 0.1 * exact.norm()


@pytest.mark.slow
def test_pairs_train_on_top(folders: dict[str, Path], tmp_path: Path) -> None:
    """W of the group is the weight with the LoRA; an empty chain is the base model with it."""
    family = "stable_diffusion_2"
    style, _ = written(family, load_plain(family, folders[family]), tmp_path)
    model = TextToImage.load(settings(family, folders, str(style)))
    before = image(model)
    adapter_group(model.network, targets=("to_q", "to_out.0")).load_chain([])
    assert torch.equal(image(model), before)


@pytest.mark.slow
def test_in_half_precision_the_group_has_one_branch_of_all(folders: dict[str, Path], tmp_path: Path) -> None:
    """On its layers: they cost what they cost at a later stage, and compute the same."""
    family = "stable_diffusion_2"
    plain = load_plain(family, folders[family])
    loras = []
    for seed, rank in ((1, 8), (2, 3)):
        made = lora_files.factors(plain, {"unet": ("to_q", "conv1")}, rank=rank, seed=seed)
        loras.append(str(lora_files.save_diffusers(tmp_path / f"{seed}.safetensors", made)))
    model = TextToImage.load(settings(family, folders, *loras, precision="bf16"))
    apart = image(model)
    group = adapter_group(model.network, targets=("to_q", "to_v"))
    together, exact = image(model), image(TextToImage.load(settings(family, folders, *loras)))
    assert (together - exact).abs().mean() < 1.5 * (apart - exact).abs().mean()
    assert (image(TextToImage.load(settings(family, folders))) - exact).abs().mean() > 5 * (
        together - exact
    ).abs().mean()
    left = {name.rpartition(".")[0].rpartition(".")[2] for name, _ in model.network.named_buffers() if "lora" in name}
    assert left == {"conv1"}
    group.load_chain([(toy.random_pair(group, 1), 1.0)])
    group.start(toy.random_pair(group, 2))
    with group.folded():
        (branch,) = group._branches()
    assert {len(b) for name, b in branch.b.items() if name.endswith("to_q")} == {8 + 3 + 2 + 2}
    group.load_chain([])
    assert torch.equal(image(model), together)
