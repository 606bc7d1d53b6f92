"""The built-in rewards: gradients against differences, values against independent computations."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import DIM, SIZE, directional_derivatives, images, jpeg_round_trip, normalised, plain_clip, save_clip
from safetensors.torch import save_file
from torch import Tensor

from rilbench import ConfigError, Reward
from rilbench.contracts.settings import build
from rilbench_aesthetic import Aesthetic, AestheticSettings, LinearHead
from rilbench_hps import HPS, HPSSettings
from rilbench_jpeg import Compressibility, CompressibilitySettings

PUBLISHED = "sac+logos+ava1-l14-linearMSE.pth"
PUBLISHED_SHA256 = "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0"
PROMPTS = ["a large red circle", "a small blue square"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = LinearHead((DIM, 8, 6, 4, 3, 1)).state_dict()
    file = tmp_path_factory.mktemp("head") / "aesthetic.safetensors"
    save_file(state, file)
    return file


@pytest.fixture
def make(clip: Path, head: Path) -> Callable[[str], Reward]:
    def reward(name: str) -> Reward:
        if name == "aesthetic":
            return Aesthetic(AestheticSettings(clip=str(clip), head=str(head)))
        if name == "hps":
            return HPS(HPSSettings(model=str(clip)))
        return Compressibility(CompressibilitySettings(reduction=name))

    return reward


def in_double(reward: Reward) -> Reward:
    if isinstance(reward, Aesthetic | HPS):
        reward.encoder.model.double()
    if isinstance(reward, Aesthetic):
        reward.head.double()
    return reward


ALL = pytest.mark.parametrize("name", ["aesthetic", "hps", "mean", "sum"])


@ALL
@pytest.mark.parametrize("size", [SIZE, 20])
def test_gradient_agrees_with_differences(make: Callable[[str], Reward], name: str, size: int) -> None:
    reward, x = in_double(make(name)), images(2, 3, size, size, dtype=torch.float64)
    slope, difference = directional_derivatives(lambda y: reward(y, PROMPTS), x)
    assert abs(slope) > 1e-6
    assert slope == pytest.approx(difference, rel=1e-4)


@ALL
def test_each_image_has_its_own_score(make: Callable[[str], Reward], name: str) -> None:
    reward, x = make(name), images(2, 3, SIZE, SIZE)
    both = reward(x, PROMPTS)
    assert both.shape == (2,)
    assert both.dtype == torch.float32
    for i in range(2):
        alone = reward(x[i : i + 1], PROMPTS[i : i + 1])
        assert alone.shape == (1,)
        torch.testing.assert_close(alone[0], both[i], atol=1e-5, rtol=1e-5)
    assert both[0] != both[1]


@ALL
def test_half_precision_images_are_scored_in_float32(make: Callable[[str], Reward], name: str) -> None:
    x = images(2, 3, SIZE, SIZE).half()
    scores = make(name)(x, PROMPTS)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, make(name)(x.float(), PROMPTS))


@pytest.mark.parametrize("name", ["aesthetic", "hps"])
def test_training_a_reward_moves_no_weight(make: Callable[[str], Reward], name: str) -> None:
    reward, x = make(name), images(1, 3, SIZE, SIZE).requires_grad_(True)
    reward(x, PROMPTS[:1]).sum().backward()
    modules = [reward.encoder.model, *([reward.head] if isinstance(reward, Aesthetic) else [])]  # type: ignore[attr-defined]
    for module in modules:
        assert not module.training
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())


def test_hps_is_the_plain_cosine(make: Callable[[str], Reward], clip: Path) -> None:
    import open_clip

    model, x = plain_clip(clip), images(2, 3, SIZE, SIZE)
    with torch.no_grad():
        image = model.encode_image(normalised(x))
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{clip}")(PROMPTS))
    torch.testing.assert_close(make("hps")(x, PROMPTS), F.cosine_similarity(image, text))


def test_hps_pads_and_can_crop(make: Callable[[str], Reward], clip: Path) -> None:
    square, wide = images(1, 3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE)
    wide[..., 8:24, :] = square[..., 8:24, :]
    cut, one = square[..., 8:24, :], PROMPTS[:1]
    torch.testing.assert_close(make("hps")(cut, one), make("hps")(wide, one))
    crop = HPS(HPSSettings(model=str(clip), fit="square"))
    assert abs(crop(cut, one) - make("hps")(cut, one)).item() > 1e-3


def test_aesthetic_is_affine_in_the_unit_features(make: Callable[[str], Reward], clip: Path, head: Path) -> None:
    linear, x = LinearHead.load(head), images(2, 3, SIZE, SIZE)
    with torch.no_grad():
        bias = linear(torch.zeros(1, DIM))
        weight = linear(torch.eye(DIM)) - bias
        features = plain_clip(clip).encode_image(normalised(x), normalize=True)
    torch.testing.assert_close(make("aesthetic")(x, PROMPTS), features @ weight + bias, atol=1e-5, rtol=1e-5)


@pytest.fixture
def published() -> Path:
    file = Path(os.environ.get("RILBENCH_DATA", "/nowhere")) / PUBLISHED
    if not file.is_file():
        pytest.skip(f"RILBENCH_DATA names no folder with {PUBLISHED}")
    return file


def test_the_published_head_has_its_known_constants(published: Path) -> None:
    head = LinearHead.load(published).double().requires_grad_(False)
    bias = head(torch.zeros(1, 768, dtype=torch.float64))
    weight = head(torch.eye(768, dtype=torch.float64)) - bias
    assert head.dim == 768
    assert bias.item() == pytest.approx(5.237, abs=5e-4)
    assert weight.norm().item() == pytest.approx(17.996, abs=5e-4)
    assert hashlib.sha256(published.read_bytes()).hexdigest() == PUBLISHED_SHA256


def test_the_published_head_does_not_fit_another_encoder(published: Path, clip: Path) -> None:
    with pytest.raises(ConfigError, match="takes 768 features"):
        Aesthetic(AestheticSettings(clip=str(clip), head=str(published), head_sha256=PUBLISHED_SHA256))


def test_wrong_heads_are_refused(head: Path, clip: Path, tmp_path: Path) -> None:
    good = LinearHead.load(head).state_dict()
    less = {k: v for k, v in good.items() if k != "layers.7.bias"}
    wide = good | {"layers.4.weight": torch.zeros(4, 5), "layers.4.bias": torch.zeros(4)}
    flat = good | {"layers.0.weight": torch.zeros(8)}
    two = good | {"layers.7.weight": torch.zeros(2, 3), "layers.7.bias": torch.zeros(2)}
    more = good | {"layers.9.bias": torch.zeros(1)}
    cases = {"layers.7.bias": less, "layers.4.weight": wide, "not an aesthetic head": flat, "last of them 1": two}
    for match, state in (cases | {"layers.9.bias": more, "layers.0.weight": {"weight": torch.zeros(3)}}).items():
        torch.save(state, tmp_path / "other.pth")
        with pytest.raises(ConfigError, match=match):
            LinearHead.load(tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="head: no file at"):
        Aesthetic(AestheticSettings(clip=str(clip), head=str(tmp_path / "gone.pth")))
    with pytest.raises(ConfigError, match="expected 000"):
        Aesthetic(AestheticSettings(clip=str(clip), head=str(head), head_sha256="0" * 64))
    (tmp_path / "cut.safetensors").write_bytes(head.read_bytes()[:-40])
    with pytest.raises(ConfigError, match="head: cannot read"):
        LinearHead.load(tmp_path / "cut.safetensors")


def test_errors_name_the_aesthetic_setting(head: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clip: "):
        Aesthetic(AestheticSettings(clip=str(tmp_path / "gone"), head=str(head)))


def test_hps_checks_its_file(clip: Path) -> None:
    with pytest.raises(ConfigError, match="expected 000"):
        HPS(HPSSettings(model=str(clip), sha256="0" * 64))


def smooth_images(size: int) -> Tensor:
    """Smooth 8-bit images (4, 3, size, size)."""
    coarse = images(4, 3, size // 8 + 1, size // 8 + 1, seed=3)
    fine = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
    return (fine.clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("size", [64, 50])
@pytest.mark.parametrize("quality", [80, 50])
def test_compressibility_is_near_the_error_of_a_real_file(size: int, quality: int) -> None:
    x = smooth_images(size)
    real = (x - jpeg_round_trip(x, quality)).pow(2).mean((1, 2, 3))
    reward = Compressibility(CompressibilitySettings(quality=quality))(x, [""] * 4)
    torch.testing.assert_close(-reward, real, rtol=0.25, atol=0)


def test_sum_is_mean_times_the_number_of_values() -> None:
    x = images(2, 3, 24, 40)
    mean, total = (Compressibility(CompressibilitySettings(reduction=r))(x, PROMPTS) for r in ("mean", "sum"))
    torch.testing.assert_close(total, mean * 3 * 24 * 40)


def test_compressibility_refuses_wrong_settings() -> None:
    for values, match in (({"quality": 0}, "quality: 0"), ({"quality": 101}, "101"), ({"reduction": "max"}, "max")):
        with pytest.raises(ConfigError, match=match):
            build(CompressibilitySettings, values, "reward_settings.compressibility")
