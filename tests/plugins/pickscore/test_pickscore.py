"""PickScore against transformers' own CLIPModel on the tensors that its processor would make."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import directional_derivatives, images
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from rilbench import ConfigError
from rilbench_pickscore import PickScore, PickScoreSettings
from rilbench_shapes.recipe import tokenizer

SIZE = 32
WEIGHTS = "model.safetensors"
PROMPTS = ["a large red circle", "a small blue square on a green background"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random CLIPModel and its tokenizer in one folder."""
    folder, words = tmp_path_factory.mktemp("pickscore"), tokenizer.build()
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "max_position_embeddings": 24, "eos_token_id": words.eos_token_id}
    vision = {"image_size": SIZE, "patch_size": 8}
    config = CLIPConfig(text_config=common | text, vision_config=common | vision, projection_dim=12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(config)
        for parameter in model.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))  # far from the untrained, nearly constant features
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def settings(folder: Path, **changes: str) -> PickScoreSettings:
    return PickScoreSettings(**{"model": str(folder), "processor": str(folder)} | changes)


@pytest.fixture(scope="module")
def reward(saved: Path) -> PickScore:
    return PickScore(settings(saved))


def published(folder: Path, x: Tensor, prompts: list[str]) -> Tensor:
    """The formula of the model card, for images of the model's size."""
    model, words = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    text = words(prompts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        image = model.get_image_features(pixel_values=pixels).pooler_output
        prompt = model.get_text_features(**text).pooler_output
        image, prompt = (y / y.norm(dim=-1, keepdim=True) for y in (image, prompt))
        return (model.logit_scale.exp() * (prompt @ image.T)).diagonal()


@pytest.mark.slow
def test_scores_follow_the_published_formula(reward: PickScore, saved: Path) -> None:
    x, prompts = images(4, 3, SIZE, SIZE), [*PROMPTS, "", "a red star and " * 20]  # short, long, empty, truncated
    scores, expected = reward(x, prompts), published(saved, x, prompts)
    assert scores.dtype == torch.float32
    assert expected.std() > 1e-1
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_the_short_side_is_resized_and_the_centre_scored(reward: PickScore, saved: Path) -> None:
    x = images(2, 3, 60, 48)
    small = F.interpolate(x, size=(40, SIZE), mode="bicubic", antialias=True, align_corners=False)[..., 4:36, :]
    torch.testing.assert_close(reward(x, PROMPTS), published(saved, small, PROMPTS), atol=1e-4, rtol=0)


def test_gradient_agrees_with_differences(saved: Path) -> None:
    reward, x = PickScore(settings(saved)), images(2, 3, 40, 40, dtype=torch.float64)
    reward.model.double()
    slope, difference = directional_derivatives(lambda y: reward(y, PROMPTS), x)
    assert abs(slope) > 1e-4
    assert slope == pytest.approx(difference, rel=1e-6)


def test_each_image_has_its_own_score(reward: PickScore) -> None:
    x, prompts = images(3, 3, SIZE, SIZE), [*PROMPTS, ""]
    together = reward(x, prompts)
    assert together.shape == (3,)
    for i in range(3):
        torch.testing.assert_close(reward(x[i : i + 1], prompts[i : i + 1])[0], together[i], atol=1e-5, rtol=0)


def test_half_precision_images_are_scored_in_float32(reward: PickScore) -> None:
    x = images(2, 3, SIZE, SIZE).bfloat16()
    assert torch.equal(reward(x, PROMPTS), reward(x.float(), PROMPTS))


def test_a_prompt_is_encoded_once_and_serves_training(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reward, x, seen = PickScore(settings(saved)), images(2, 3, SIZE, SIZE).requires_grad_(True), []
    encode = reward.model.text_model.forward
    monkeypatch.setattr(reward.model.text_model, "forward", lambda input_ids: seen.append(1) or encode(input_ids))
    with torch.inference_mode():
        reward(x, PROMPTS)
    for _ in range(2):  # no graph is kept between calls
        reward(x, PROMPTS).sum().backward()
    assert len(seen) == 2
    assert x.grad is not None
    assert x.grad.any()


def test_the_model_is_frozen(reward: PickScore) -> None:
    reward(images(1, 3, SIZE, SIZE).requires_grad_(True), PROMPTS[:1]).sum().backward()
    assert not any(module.training for module in reward.model.modules())
    assert all(p.grad is None and not p.requires_grad for p in reward.model.parameters())


def test_half_precision_weights_give_a_float32_model(folder: Path) -> None:
    state = {k: v.half() for k, v in load_file(folder / WEIGHTS).items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    model = PickScore(settings(folder, sha256=digest)).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.state_dict()["visual_projection.weight"], state["visual_projection.weight"].float())


def test_the_buffers_of_old_checkpoints_are_expected(folder: Path, reward: PickScore) -> None:
    buffers = {"text_model.embeddings.position_ids": 24, "vision_model.embeddings.position_ids": 17}
    state = load_file(folder / WEIGHTS) | {name: torch.arange(size)[None] for name, size in buffers.items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    x = images(2, 3, SIZE, SIZE)
    loaded = PickScore(settings(folder))
    torch.testing.assert_close(loaded(x, PROMPTS), reward(x, PROMPTS), atol=1e-5, rtol=0)


def refused(match: str, folder: Path, **changes: Any) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        PickScore(settings(folder, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_weights_are_loaded_strictly(folder: Path, change: str) -> None:
    state = load_file(folder / WEIGHTS)
    if change == "missing":
        del state["text_projection.weight"]
    elif change == "unexpected":
        state["vision_model.other"] = torch.zeros(1)
    else:
        state["text_projection.weight"] = torch.zeros(12, 15)
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    match = {
        "missing": "text_projection.weight is missing.*PickScore v1",
        "unexpected": "vision_model.other is unexpected",
        "shape": r"text_projection.weight has shape \(12, 15\), not \(12, 16\)",
    }
    refused(f"model: .*{match[change]}", folder)


def test_a_damaged_folder_is_refused(folder: Path) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    refused(f"model: cannot load {folder} .*SafetensorError.*fetch its files again", folder)
    (folder / WEIGHTS).unlink()
    refused("model: the folder .* has no model.safetensors", folder)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / "config.json").write_text("{")
    refused("model: cannot load .*config.json", folder)
    (folder / "config.json").unlink()
    refused("model: the folder .* has no config.json", folder)


def test_names_that_mean_nothing_are_refused(saved: Path, tmp_path: Path) -> None:
    refused("model: no folder at .*gone; download it or correct the path", saved, model=str(tmp_path / "gone"))
    refused("processor: no folder at .*gone", saved, processor=str(tmp_path / "gone"))
    refused(r"model\.safetensors of hub:some/model/model\.safetensors@v2 should be at", saved, model="some/model@v2")
    refused(r"missing files: tokenizer\.json of hub:some/words/.*rilbench fetch", saved, processor="some/words")
    refused("expected 000", saved, sha256="0" * 64)


def test_a_tokenizer_of_another_model_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused("processor: .*empty", saved, processor=str(tmp_path / "empty"))
    other = json.loads((saved / "tokenizer.json").read_text())
    other["model"]["vocab"].pop(next(iter(other["model"]["vocab"])))
    shutil.copytree(saved, tmp_path / "other")
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(other))
    refused(r"has \d+ tokens, the model \d+; download the model's tokenizer", saved, processor=f"{tmp_path}/other")
