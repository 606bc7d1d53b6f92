"""The rewards without a model: values against numpy and real JPEG files, gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import directional_derivatives, images, jpeg_round_trip
from numpy.typing import NDArray
from torch import Tensor

from rilbench import ConfigError, NoSettings, Reward
from rilbench.contracts.settings import build
from rilbench_colorfulness import Colorfulness
from rilbench_incompressibility import Incompressibility
from rilbench_jpeg import Compressibility, CompressibilitySettings
from rilbench_sharpness import Sharpness

REWARDS: dict[str, Reward] = {
    "incompressibility": Incompressibility(CompressibilitySettings()),
    "sharpness": Sharpness(NoSettings()),
    "colorfulness": Colorfulness(NoSettings()),
}
ALL = pytest.mark.parametrize("name", REWARDS)
SIZES = pytest.mark.parametrize("size", [(32, 32), (20, 33)])


def score(name: str, x: Tensor) -> Tensor:
    return REWARDS[name](x, [""] * len(x))


def photos(height: int = 48, width: int = 40) -> Tensor:
    """Smooth 8-bit images (3, 3, height, width) with more and more grain."""
    coarse = images(3, 3, height // 8 + 1, width // 8 + 1, seed=3, dtype=torch.float64)
    smooth = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    grain = images(3, 3, height, width, seed=4, dtype=torch.float64) - 0.5
    amount = torch.tensor([0.0, 0.05, 0.2], dtype=torch.float64)[:, None, None, None]
    return ((smooth + amount * grain).clamp(0, 1) * 255).round() / 255


def pixels(x: Tensor) -> NDArray[np.float64]:
    """Images as numpy has them: (B, H, W, 3) in 0..255."""
    return np.round(x.permute(0, 2, 3, 1).numpy() * 255)


def laplacian_variance(image: NDArray[np.float64]) -> float:
    """Of (H, W, 3) in 0..255, by convolution with the kernel as the papers write it."""
    luma = image @ np.array([0.299, 0.587, 0.114])
    padded = np.pad(luma, 1, mode="edge")
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    height, width = luma.shape
    shifted = [kernel[i, j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return float(np.sum(shifted, axis=0).var())


def hasler_suesstrunk(image: NDArray[np.float64]) -> float:
    """Of (H, W, 3) in 0..255, from standard deviations as the paper writes it."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    rg, yb = red - green, 0.5 * (red + green) - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def test_sharpness_is_the_variance_of_the_convolution() -> None:
    x = photos()
    reference = torch.tensor([laplacian_variance(image) for image in pixels(x)], dtype=torch.float64) / 255**2
    torch.testing.assert_close(score("sharpness", x), reference, rtol=1e-12, atol=0)


def test_colorfulness_is_the_published_formula() -> None:
    x = photos()
    reference = torch.tensor([hasler_suesstrunk(image) for image in pixels(x)], dtype=torch.float64) / 255
    torch.testing.assert_close(score("colorfulness", x), reference, rtol=1e-8, atol=0)


@pytest.mark.parametrize(
    ("quality", "tolerance"),  # measured: at most 0.205, 0.175 and 0.084
    [(95, 0.25), (80, 0.2), (50, 0.1)],
)
def test_incompressibility_is_near_the_error_of_a_real_file(quality: int, tolerance: float) -> None:
    x = photos()
    real = (x - jpeg_round_trip(x, quality)).pow(2).mean((1, 2, 3))
    reward = Incompressibility(CompressibilitySettings(quality=quality))(x, [""] * 3)
    torch.testing.assert_close(reward, real, rtol=tolerance, atol=0)


@pytest.mark.parametrize("values", [{}, {"quality": 50, "reduction": "sum"}])
def test_incompressibility_is_minus_compressibility(values: dict[str, object]) -> None:
    x, settings = photos(), build(CompressibilitySettings, values, "reward_settings.incompressibility")
    assert torch.equal(Incompressibility(settings)(x, [""] * 3), -Compressibility(settings)(x, [""] * 3))


def test_incompressibility_refuses_what_compressibility_refuses() -> None:
    with pytest.raises(ConfigError, match=r"reward_settings\.incompressibility\.quality: 101"):
        build(Incompressibility.Settings, {"quality": 101}, "reward_settings.incompressibility")


def test_incompressibility_does_not_report_growth_as_forgetting() -> None:
    assert not set(Incompressibility.metrics) & {"png_kb", "jpeg_kb"}


@ALL
def test_grain_and_colour_score_in_the_right_order(name: str) -> None:
    scores = score(name, photos())
    grey = score(name, photos().mean(1, keepdim=True).expand(-1, 3, -1, -1))
    if name == "colorfulness":
        assert (scores > 1000 * grey).all()
    else:
        assert scores[0] < scores[1] < scores[2]


@ALL
@SIZES
def test_gradient_agrees_with_differences(name: str, size: tuple[int, int]) -> None:
    x = images(2, 3, *size, dtype=torch.float64)
    slope, difference = directional_derivatives(lambda y: score(name, y), x)
    assert abs(slope) > 1e-6
    assert slope == pytest.approx(difference, rel=1e-6)


@ALL
@SIZES
def test_each_image_has_its_own_score(name: str, size: tuple[int, int]) -> None:
    x = images(3, 3, *size)
    together = score(name, x)
    assert together.shape == (3,)
    assert len(set(together.tolist())) == 3
    alone = torch.cat([score(name, x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-6, atol=0)


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_images_are_scored_in_float32(name: str, dtype: torch.dtype) -> None:
    x = images(2, 3, 32, 32).to(dtype)
    assert score(name, x).dtype == torch.float32
    assert torch.equal(score(name, x), score(name, x.float()))


FLAT = {"black": (0.0, 0.0, 0.0), "grey": (0.4, 0.4, 0.4), "white": (1.0, 1.0, 1.0), "blue": (0.1, 0.2, 0.9)}


@ALL
@pytest.mark.parametrize("colour", FLAT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images_have_finite_scores_and_gradients(name: str, colour: str, dtype: torch.dtype) -> None:
    x = torch.tensor(FLAT[colour], dtype=dtype)[None, :, None, None].repeat(1, 1, 20, 20).requires_grad_(True)
    value = score(name, x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert gradient.isfinite().all()
    if name == "colorfulness" and colour == "blue":  # sigma = 0, mu = hypot(0.1, 0.75)
        assert value.item() == pytest.approx(0.3 * np.hypot(0.1, 0.75), abs=1.1e-5)
        assert gradient.abs().max() > 1e-6
    else:
        assert 0 <= value.item() < 1e-4


@ALL
def test_a_gradient_step_raises_the_score(name: str) -> None:
    x = images(2, 3, 32, 32, dtype=torch.float64).requires_grad_(True)
    before = score(name, x)
    (gradient,) = torch.autograd.grad(before.sum(), x)
    after = score(name, x.detach() + 1e-4 * gradient / gradient.norm())
    assert (after > before).all()
