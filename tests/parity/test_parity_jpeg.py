"""`compressibility` against files that Pillow writes: the error, the picture, and where the gradient leads."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import kornia.enhance.jpeg
import pytest
import torch
from helpers import jpeg_round_trip
from kornia.enhance import jpeg_codec_differentiable
from parity_pictures import pictures
from parity_records import Figure, Figures
from torch import Tensor

from rilbench_jpeg import Compressibility, CompressibilitySettings

REFERENCE = f"Pillow {version('pillow')}"
QUALITIES = (50, 80, 95)
ROUNDING = "_differentiable_polynomial_rounding"  # kornia's, with a gradient


@cache
def photos() -> Tensor:
    return pictures(3, 512, 512)


def ours(x: Tensor, quality: int) -> Tensor:
    """The squared error (B,), with gradient."""
    return -Compressibility(CompressibilitySettings(quality=quality))(x, [""] * len(x))


def eight_bits(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round() / 255


def error(x: Tensor, decoded: Tensor) -> Tensor:
    return (x - decoded).pow(2).flatten(1).mean(1)


def real(x: Tensor, quality: int) -> Tensor:
    """The squared error (B,) of files."""
    x = eight_bits(x)
    return error(x, jpeg_round_trip(x, quality))


def off(one: Tensor, other: Tensor) -> float:
    """The largest relative difference."""
    return float((one / other - 1).abs().max())


@pytest.mark.parametrize("quality", QUALITIES)
def test_squared_error(quality: int, figures: Figures) -> None:
    """Of the reward as it is used."""
    files = real(photos(), quality)
    seen, other = off(ours(photos(), quality), files), off(ours(photos(), quality // 2), files)
    what = f"squared error at quality {quality}, relative"
    figures.check(Figure("compressibility", REFERENCE, what, seen, 0.2, {f"quality {quality // 2}": other}))


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_codec_itself(quality: int, figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the gradient needs: plain rounding for the cubic one, pictures in 8 bits as files have them.

    What is left at quality 95: kornia halves the colour channels with a wider filter than libjpeg's mean of 2 x 2.
    Gray pictures differ by 2 % there.
    """
    monkeypatch.setattr(kornia.enhance.jpeg, ROUNDING, torch.round)
    files = real(photos(), quality)

    def relative(quality: int) -> float:
        decoded = jpeg_codec_differentiable(photos(), torch.tensor([float(quality)]))
        return off(error(photos(), eight_bits(decoded)), files)

    what = f"the same, plain rounding, 8 bits, quality {quality}"
    mistakes = {f"quality {quality - 2}": relative(quality - 2)}
    figures.check(
        Figure("compressibility", REFERENCE, what, relative(quality), 0.1 if quality > 90 else 0.02, mistakes)
    )


def test_gradient_leads_to_smaller_errors_of_real_files(figures: Figures) -> None:
    """A step of 1/255 RMS down our gradient, rounded to 8 bits: the error of Pillow's files after it over before."""
    x = photos().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(ours(x, 80).sum(), x)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    before = real(photos(), 80)

    def ratio(direction: Tensor) -> float:
        step = direction / direction.pow(2).mean((1, 2, 3), keepdim=True).sqrt() / 255
        return float((real(photos() - step, 80) / before).max())

    what = "error of files after a step down the gradient over before"
    mistakes = {"random step": ratio(noise), "step up": ratio(-gradient)}
    figures.check(Figure("compressibility", REFERENCE, what, ratio(gradient), 0.95, mistakes))


def test_gradient_is_near_that_of_straight_through(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 - cosine of ours and the gradient with x + (round(x) - x) as rounding, at quality 80."""
    x = photos().clone().requires_grad_()
    (cubic,) = torch.autograd.grad(ours(x, 80).sum(), x)
    constant = x.detach() - jpeg_codec_differentiable(photos(), torch.tensor([80.0]))  # as if JPEG(x) had no gradient

    def straight(values: Tensor) -> Tensor:
        return values + (values.round() - values).detach()

    monkeypatch.setattr(kornia.enhance.jpeg, ROUNDING, straight)
    (through,) = torch.autograd.grad(ours(x, 80).sum(), x)

    def angle(gradient: Tensor) -> float:
        return 1 - float(torch.cosine_similarity(gradient.flatten(), through.flatten(), 0))

    mistakes = {"a constant codec": angle(constant)}
    figures.check(
        Figure("compressibility", "straight-through rounding", "gradient, 1 - cosine", angle(cubic), 0.3, mistakes)
    )
