"""The contract of rilbench, and values computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from rilbench_warmth import WarmShare, Warmth, WarmthSettings

from rilbench import ConfigError, NoSettings
from rilbench.contracts.settings import build
from rilbench.testing import parametrize_with_checks

SRGB = {  # colour: (R, G, B), and a*, b* as tables of CIELAB under D65 print them
    "red": ((1.0, 0.0, 0.0), (80.09, 67.20)),
    "green": ((0.0, 1.0, 0.0), (-86.18, 83.18)),
    "blue": ((0.0, 0.0, 1.0), (79.19, -107.86)),
    "dark olive": ((128 / 255, 128 / 255, 0.0), (-12.93, 56.68)),
    "grey": ((0.5, 0.5, 0.5), (0.0, 0.0)),
    "black": ((0.0, 0.0, 0.0), (0.0, 0.0)),
}


@parametrize_with_checks(Warmth)
def test_contract(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(Warmth, {"warmest": 90.0})
def test_contract_with_another_hue(check: Callable[[], None]) -> None:
    check()


@parametrize_with_checks(WarmShare)
def test_contract_of_the_metric(check: Callable[[], None]) -> None:
    check()


def flat(name: str) -> torch.Tensor:
    return torch.tensor(SRGB[name][0], dtype=torch.float64)[None, :, None, None].expand(1, 3, 8, 8)


@pytest.mark.parametrize("name", SRGB)
def test_the_published_formula(name: str) -> None:
    a, b = SRGB[name][1]
    chroma, hue = math.hypot(a, b), math.degrees(math.atan2(b, a))
    expected = -0.5 + 0.02 * chroma**1.07 * math.cos(math.radians(hue - 50))
    assert Warmth(WarmthSettings())(flat(name), [""]).item() == pytest.approx(expected, abs=1e-3)


def test_red_by_hand() -> None:
    """C* = 104.55 at 40.0 degrees: -0.5 + 0.02 * 144.77 * cos(10 degrees)."""
    assert Warmth(WarmthSettings())(flat("red"), [""]).item() == pytest.approx(2.351, abs=2e-3)


def test_the_gradient_of_black_and_white_pictures_warms_them() -> None:
    grey = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).expand(1, 3, 8, 8).clone()
    reward, images = Warmth(WarmthSettings()), grey.requires_grad_(True)
    before = reward(images, [""])
    (gradient,) = torch.autograd.grad(before.sum(), images)
    assert gradient.isfinite().all()
    assert (gradient[:, 0] > 0).all()  # more red
    assert (gradient[:, 2] < 0).all()  # less blue
    assert reward(images + 0.1 * gradient, [""]) > before


def test_the_share_counts_pixels() -> None:
    images = torch.zeros(2, 3, 4, 4)
    images[0, 0, 0] = 1  # a red row of four
    images[1, 2] = 1  # all blue
    metric = WarmShare(NoSettings())
    assert metric.update(images, ["", ""]).tolist() == [25.0, 0.0]
    assert metric.compute() == 12.5


def test_a_hue_off_the_circle_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reward_settings\.warmth\.warmest: 400"):
        build(WarmthSettings, {"warmest": 400}, "reward_settings.warmth")
