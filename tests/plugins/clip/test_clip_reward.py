"""The `clip` reward against a plain open_clip model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from helpers import SIZE, WEIGHTS, directional_derivatives, images, normalised, plain_clip, save_clip
from torch import Tensor

from rilbench import ConfigError
from rilbench_clip import Clip, ClipSettings

PROMPTS = ["a large red circle", "a small blue square"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def reward(folder: Path) -> Clip:
    return Clip(ClipSettings(model=str(folder)))


def plain_cosine(folder: Path, x: Tensor, prompts: list[str]) -> Tensor:
    model, tokenize = plain_clip(folder), open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        return F.cosine_similarity(model.encode_image(normalised(x)), model.encode_text(tokenize(prompts)))


def test_scores_are_the_plain_cosine(reward: Clip, folder: Path) -> None:
    x = images(2, 3, SIZE, SIZE)
    scores = reward(x, PROMPTS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, plain_cosine(folder, x, PROMPTS), atol=1e-6, rtol=0)


def test_the_short_side_is_resized_and_the_centre_scored(reward: Clip, folder: Path) -> None:
    x = images(2, 3, 48, 60)
    small = F.interpolate(x, size=(SIZE, 40), mode="bicubic", antialias=True, align_corners=False)[..., 4:36]
    torch.testing.assert_close(reward(x, PROMPTS), plain_cosine(folder, small, PROMPTS), atol=1e-5, rtol=0)
    padded = Clip(ClipSettings(model=str(folder), fit="pad"))
    assert (padded(x, PROMPTS) - reward(x, PROMPTS)).abs().max() > 1e-4


def test_gradient_agrees_with_differences(folder: Path) -> None:
    reward, x = Clip(ClipSettings(model=str(folder))), images(2, 3, 40, 40, dtype=torch.float64)
    reward.encoder.model.double()
    slope, difference = directional_derivatives(lambda y: reward(y, PROMPTS), x)
    assert abs(slope) > 1e-6
    assert slope == pytest.approx(difference, rel=1e-5)


def test_each_image_has_its_own_score(reward: Clip) -> None:
    x = images(3, 3, SIZE, SIZE)
    together = reward(x, [*PROMPTS, ""])
    for i, prompt in enumerate([*PROMPTS, ""]):
        torch.testing.assert_close(reward(x[i : i + 1], [prompt])[0], together[i], atol=1e-6, rtol=0)
    assert (reward(x[:1], PROMPTS[1:]) - together[0]).abs() > 1e-4  # the prompt counts


def test_half_precision_images_are_scored_in_float32(reward: Clip) -> None:
    x = images(2, 3, SIZE, SIZE).bfloat16()
    assert torch.equal(reward(x, PROMPTS), reward(x.float(), PROMPTS))


def test_the_model_is_frozen_and_keeps_no_graph(reward: Clip) -> None:
    x = images(1, 3, SIZE, SIZE).requires_grad_(True)
    for _ in range(2):
        reward(x, PROMPTS[:1]).sum().backward()
    assert not any(module.training for module in reward.encoder.model.modules())
    assert all(p.grad is None and not p.requires_grad for p in reward.encoder.model.parameters())


def test_the_default_model_prefers_the_prompt_of_an_image() -> None:
    x = torch.ones(2, 3, 64, 64)
    x[0, 1:, 16:48, 16:48] = 0.1  # red
    x[1, :2, 16:48, 16:48] = 0.1  # blue
    prompts = ["a large red square on a white background", "a large blue square on a white background"]
    reward = Clip(ClipSettings())
    assert (reward(x, prompts) > reward(x, prompts[::-1])).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": "ViT-B32"}, "model: 'ViT-B32' is neither a folder nor an open_clip architecture"),
        ({"model": "{tmp}"}, "model: the folder .* has no open_clip_config.json"),
        ({"model": "ViT-B-32", "pretrained": "{tmp}/gone.pt"}, "pretrained: no weight file at .*gone.pt"),
        ({"pretrained": "openai"}, "remove `pretrained`"),
        ({"fit": "stretch"}, "unknown fit 'stretch'"),
        ({"sha256": "0" * 64}, "expected 000"),
    ],
)
def test_wrong_settings_are_refused(folder: Path, tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    values = {"model": str(folder)} | {k: v.format(tmp=tmp_path) for k, v in changes.items()}
    with pytest.raises(ConfigError, match=match) as caught:
        Clip(ClipSettings(**values))
    assert "\n" not in str(caught.value)


def test_a_cut_weight_file_is_refused(tmp_path: Path) -> None:
    weights = save_clip(tmp_path / "clip") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(ConfigError, match=r"model: cannot load .*SafetensorError.*fetch"):
        Clip(ClipSettings(model=str(tmp_path / "clip")))
