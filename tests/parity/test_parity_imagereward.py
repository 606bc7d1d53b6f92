"""`imagereward` at full size against the package of its authors, and against the architecture written out in torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blip_reference as blip
import pytest
import torch
from parity_packages import imagereward
from parity_pictures import apart, by_torch, pictures, pil
from parity_records import Figure, Figures
from torch import Tensor

from rilbench_imagereward import ImageReward, ImageRewardSettings

PROMPTS = ["a large red circle", "small blue squares"]
SPELLED = ["[CLS] a large red circle [SEP]", "[CLS] small blue square ##s [SEP]"]
VOCABULARY = [*blip.WORDS, *(f"word{i}" for i in range(30522 - len(blip.WORDS)))]
SIZE = (512, 384)


@pytest.fixture(scope="module")
def folder(cache: Path) -> Path:
    """Random weights in the published format, a tokenizer of as many words as the published one."""
    folder = cache / "imagereward"
    if not folder.exists():
        folder.mkdir()
        torch.save(blip.checkpoint(blip.PUBLISHED), folder / "ImageReward.pt")
        blip.save_tokenizer(folder, VOCABULARY)
        blip.save_config(folder / "med_config.json", blip.PUBLISHED)
    return folder


@pytest.fixture(scope="module")
def state(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / "ImageReward.pt", weights_only=True)
    return found


@pytest.fixture(scope="module")
def reward(folder: Path) -> ImageReward:
    return ImageReward(ImageRewardSettings(weights=str(folder / "ImageReward.pt"), tokenizer=str(folder)))


@pytest.fixture(scope="module")
def ours(reward: ImageReward) -> Tensor:
    with torch.no_grad():
        return reward(pictures(2, *SIZE), PROMPTS)


def words() -> tuple[Tensor, Tensor]:
    """Token numbers and mask (2, 35), by hand."""
    numbers = torch.zeros(2, 35, dtype=torch.long)
    for row, prompt in zip(numbers, SPELLED, strict=True):
        spelled = prompt.split()
        row[: len(spelled)] = torch.tensor([VOCABULARY.index(word) for word in spelled])
    return numbers, numbers != 0


@torch.no_grad()
def test_scores(state: dict[str, Tensor], ours: Tensor, figures: Figures) -> None:
    """Against the formula, with the same resize in both; the mistakes on the first picture alone."""
    x, (numbers, mask) = by_torch(pictures(2, *SIZE)), words()
    theirs = blip.score(state, blip.PUBLISHED, x, numbers, mask)
    aliased = by_torch(pictures(2, *SIZE)[:1], antialias=False)
    mistakes = {
        "no antialias": apart(ours[:1], blip.score(state, blip.PUBLISHED, aliased, numbers[:1], mask[:1])),
        "the other prompt": apart(ours[:1], blip.score(state, blip.PUBLISHED, x[:1], numbers[1:], mask[1:])),
    }
    figures.check(Figure("imagereward", "written out in torch", "score", apart(ours, theirs), 1e-3, mistakes))


@pytest.fixture(scope="module")
def package(folder: Path, state: dict[str, Tensor]) -> Iterator[tuple[str, Any]]:
    """The package's own model, strictly loaded, in eval mode as its `load` leaves it."""
    with imagereward(folder) as (version, module):
        model = module.ImageReward(str(folder / "med_config.json"))
        model.load_state_dict(state)
        yield f"image-reward {version}", model.eval()


@torch.no_grad()
def test_scores_of_the_package(package: tuple[str, Any], ours: Tensor, figures: Figures) -> None:
    """From Pillow's picture to score, which the package resizes in 8 bits, and from the same pixels."""
    (name, model), x, (numbers, mask) = package, pictures(2, *SIZE), words()
    same = model.score_gard(numbers, mask, by_torch(x))[:, 0]
    unmasked = apart(ours[:1], model.score_gard(numbers[:1], torch.ones_like(mask[:1]), by_torch(x[:1]))[:, 0])
    mistakes = {"no mask": unmasked}
    figures.check(Figure("imagereward", name, "score of the same pixels", apart(ours, same), 1e-3, mistakes))
    theirs = torch.tensor([model.score(prompt, pil(image)) for prompt, image in zip(PROMPTS, x, strict=True)])
    aliased = model.score_gard(numbers[:1], mask[:1], by_torch(x[:1], antialias=False))[:, 0]
    mistakes = {"no antialias": apart(aliased, theirs[:1])}
    figures.check(Figure("imagereward", name, "score, resized by Pillow", apart(ours, theirs), 5e-2, mistakes))
