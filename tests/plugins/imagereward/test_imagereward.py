"""ImageReward against a plain forward of the original architecture on the original checkpoint's names."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import blip_reference as blip
import pytest
import torch
import torch.nn.functional as F
from helpers import directional_derivatives, images
from safetensors.torch import save_file
from torch import Tensor

from rilbench import ConfigError
from rilbench_imagereward import ImageReward, ImageRewardSettings
from rilbench_imagereward.model import Network, Sizes

PUBLISHED_BYTES = 1_786_880_927  # of ImageReward.pt
PROMPTS = ["a large red circle", "small blue squares"]
SPELLED = ["[CLS] a large red circle [SEP]", "[CLS] small blue square ##s [SEP]"]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return blip.checkpoint(blip.TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Tensor]) -> Path:
    folder = blip.save_tokenizer(tmp_path_factory.mktemp("imagereward"))
    blip.save_config(folder / "med_config.json", blip.TINY)
    torch.save(state, folder / "ImageReward.pt")
    return folder


def settings(folder: Path, **changes: Any) -> ImageRewardSettings:
    values = {"weights": f"{folder}/ImageReward.pt", "config": f"{folder}/med_config.json", "tokenizer": str(folder)}
    return ImageRewardSettings(**values | changes)


@pytest.fixture(scope="module")
def reward(folder: Path) -> ImageReward:
    return ImageReward(settings(folder))


def tokens(prompts: list[str]) -> tuple[Tensor, Tensor]:
    """By hand: 35 places, the rest of them padding."""
    numbers = torch.zeros(len(prompts), 35, dtype=torch.long)
    for row, prompt in zip(numbers, prompts, strict=True):
        words = prompt.split()
        row[: len(words)] = torch.tensor([blip.WORDS.index(word) for word in words])
    return numbers, numbers != 0


def pixels(x: Tensor, size: int) -> Tensor:
    if x.shape[-1] != size:
        x = F.interpolate(x, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    mean, std = x.new_tensor([0.48145466, 0.4578275, 0.40821073]), x.new_tensor([0.26862954, 0.26130258, 0.27577711])
    return (x - mean[:, None, None]) / std[:, None, None]


@pytest.fixture(scope="module")
def precise(folder: Path) -> ImageReward:
    """In fp64, where only a fault of the conversion is larger than rounding."""
    reward = ImageReward(settings(folder))
    reward.network.double()
    return reward


@pytest.mark.parametrize("size", [32, 50])
def test_scores_equal_the_original_architecture(precise: ImageReward, state: dict[str, Tensor], size: int) -> None:
    x = images(2, 3, size, size, dtype=torch.float64)
    wide = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    expected = blip.score(wide, blip.TINY, pixels(x, 32), *tokens(SPELLED))
    assert (expected[0] - expected[1]).abs() > 1e-2
    torch.testing.assert_close(precise(x, PROMPTS), expected, atol=1e-10, rtol=0)


def test_single_precision_is_near(reward: ImageReward, precise: ImageReward) -> None:
    x = images(2, 3, 50, 40)
    scores = reward(x, PROMPTS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, precise(x.double(), PROMPTS).float(), atol=1e-4, rtol=0)


def test_every_weight_reaches_the_score(state: dict[str, Tensor]) -> None:
    """So that the comparison above proves each converted name: no two tensors could be exchanged unseen."""
    leaves = {name: value.clone().requires_grad_(value.is_floating_point()) for name, value in state.items()}
    blip.score(leaves, blip.TINY, pixels(images(2, 3, 32, 32), 32), *tokens(SPELLED)).sum().backward()
    silent = {name for name, value in leaves.items() if value.grad is None or not value.grad.any()}
    unused = {f"blip.{part}_proj.{kind}" for part in ("vision", "text") for kind in ("weight", "bias")}
    unused.add("blip.text_encoder.embeddings.position_ids")
    assert silent <= {name for name in state if name.endswith("self.key.bias")} | unused  # softmax drops key biases
    assert unused <= silent


def test_gradient_agrees_with_differences(precise: ImageReward) -> None:
    x = images(2, 3, 40, 40, dtype=torch.float64)
    slope, difference = directional_derivatives(lambda y: precise(y, PROMPTS), x)
    assert abs(slope) > 1e-4
    assert slope == pytest.approx(difference, rel=1e-6)


def test_each_image_has_its_own_score(reward: ImageReward) -> None:
    x, prompts = images(3, 3, 32, 48), [*PROMPTS, "a , " * 30]
    together = reward(x, prompts)
    assert together.shape == (3,)
    for i in range(3):
        torch.testing.assert_close(reward(x[i : i + 1], prompts[i : i + 1])[0], together[i], atol=1e-4, rtol=0)
    assert (reward(x[:1], PROMPTS[1:]) - together[0]).abs() > 1e-3  # the prompt counts


def test_half_precision_images_are_scored_in_float32(reward: ImageReward) -> None:
    x = images(2, 3, 32, 32).bfloat16()
    assert torch.equal(reward(x, PROMPTS), reward(x.float(), PROMPTS))


def test_a_prompt_first_seen_in_inference_mode_serves_training(reward: ImageReward) -> None:
    x = images(1, 3, 32, 32).requires_grad_(True)
    with torch.inference_mode():
        reward(x, ["a small red square"])
    for _ in range(2):  # no graph is kept between calls
        reward(x, ["a small red square"]).sum().backward()
    assert x.grad is not None
    assert x.grad.any()


def test_the_network_is_frozen(reward: ImageReward) -> None:
    reward(images(1, 3, 32, 32).requires_grad_(True), PROMPTS[:1]).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in reward.network.parameters())
    assert not any(module.training for module in reward.network.modules())


def test_half_precision_safetensors_give_a_float32_network(folder: Path, state: dict[str, Tensor]) -> None:
    file = folder / "half.safetensors"
    save_file({k: v.half() for k, v in state.items() if "position_ids" not in k and "_proj." not in k}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    network = ImageReward(settings(folder, weights=str(file), sha256=digest)).network
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    stored = state["mlp.layers.0.weight"].half().float()
    assert torch.equal(network.state_dict()["mlp.0.weight"], stored)


def test_the_published_sizes_are_the_published_file() -> None:
    with torch.device("meta"):
        network = Network(Sizes())
    numbers = sum(value.numel() for value in network.state_dict().values())
    unused = 256 * (1024 + 1) + 256 * (768 + 1)  # vision_proj and text_proj
    overhead = PUBLISHED_BYTES - 4 * (numbers + unused) - 8 * 512  # position_ids are 64-bit
    assert 0 < overhead < 0.0005 * PUBLISHED_BYTES
    assert numbers + unused == sum(math.prod(shape) for shape in blip.shapes(blip.PUBLISHED).values())


def refused(match: str, folder: Path, **changes: Any) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        ImageReward(settings(folder, **changes))
    assert "\n" not in str(caught.value)


def test_missing_weights_say_where_to_find_them(folder: Path) -> None:
    refused("weights: no file at .*gone.*correct the path", folder, weights=str(folder / "gone.pt"))
    published = r"ImageReward\.pt of hub:zai-org/ImageReward/ImageReward\.pt@5736be0.* should be at .*rilbench fetch"
    refused(f"missing files: {published}", folder, weights=ImageRewardSettings().weights)


def test_the_hash_of_the_weights_is_checked_before_they_are_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"no tensors")
    refused("expected 000", folder, weights=str(tmp_path / "other.pt"), sha256="0" * 64)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("less", r"crossattention\.self\.query\.bias is missing"),
        ("more", r"blip\.visual_encoder\.other is unexpected"),
        ("shape", r"mlp\.layers\.2\.weight has shape \(128, 1023\), not \(128, 1024\)"),
        ("foreign", r"is missing and \d+ more.*ImageReward\.pt"),
    ],
)
def test_weights_are_loaded_strictly(
    folder: Path, state: dict[str, Tensor], tmp_path: Path, change: str, match: str
) -> None:
    wrong = dict(state)
    if change == "less":
        del wrong["blip.text_encoder.encoder.layer.1.crossattention.self.query.bias"]
    elif change == "more":
        wrong["blip.visual_encoder.other"] = torch.zeros(1)
    elif change == "shape":
        wrong["mlp.layers.2.weight"] = torch.zeros(128, 1023)
    else:
        wrong = {"layers.0.weight": torch.zeros(2, 2)}
    torch.save(wrong, tmp_path / "wrong.pt")
    refused(f"weights: .*wrong.pt does not fit: .*{match}", folder, weights=str(tmp_path / "wrong.pt"))


def test_corrupt_and_pickled_files_are_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "ImageReward.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    refused("weights: cannot read .*cut", folder, weights=str(tmp_path / "cut.pt"))
    torch.save({"mlp.layers.0.weight": Path("pickled code")}, tmp_path / "code.pt")
    refused("weights: cannot read .*UnpicklingError", folder, weights=str(tmp_path / "code.pt"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "config: cannot read .*JSONDecodeError"),
        ("[1]", "config: .* an object"),
        (json.dumps({"hiden_size": 16}), "Did you mean 'hidden_size'"),
        (json.dumps({"vision": {"patch": 16}}), "unknown setting in config.vision 'patch'"),
        (json.dumps({"hidden_size": "wide"}), "config.hidden_size: .*wide"),
    ],
)
def test_wrong_configs_are_refused(folder: Path, tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "config.json").write_text(text)
    refused(match, folder, config=str(tmp_path / "config.json"))


@pytest.mark.slow
def test_the_published_med_config_has_the_published_sizes(folder: Path, tmp_path: Path) -> None:
    refused("config: .*no file", folder, config=str(tmp_path / "gone.json"))
    del (sizes := dict(blip.PUBLISHED))["vision"]
    blip.save_config(tmp_path / "med_config.json", sizes)
    refused(r"encoder\.blocks\.3\..* is missing and \d+ more", folder, config=str(tmp_path / "med_config.json"))


def test_wrong_tokenizers_are_refused(folder: Path, tmp_path: Path) -> None:
    refused("tokenizer: no folder at .*gone", folder, tokenizer=str(tmp_path / "gone"))
    refused(
        r"missing files: tokenizer\.json of hub:someone/something/tokenizer\.json@main should be at .*rilbench fetch",
        folder,
        tokenizer="someone/something",
    )
    other = blip.save_tokenizer(tmp_path / "other", blip.WORDS[:-1])
    refused(
        "tokenizer: .*other has 15 tokens, the model 16",
        folder,
        tokenizer=str(other),
    )
    (tmp_path / "empty").mkdir()
    refused("tokenizer: .*empty", folder, tokenizer=str(tmp_path / "empty"))
