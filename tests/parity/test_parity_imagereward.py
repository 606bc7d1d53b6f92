"""`imagereward` at full size against the package of its authors, and against the architecture written out in torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blip_reference as blip
import pytest
import torch
from parity_packages import imagereward
from parity_pictures import apart, by_pillow, by_torch, pictures, pil
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
    """Against the formula, with the same resize in both."""
    x, tokens = pictures(2, *SIZE), words()
    theirs = blip.score(state, blip.PUBLISHED, by_torch(x), *tokens)
    aliased = apart(ours, blip.score(state, blip.PUBLISHED, by_torch(x, antialias=False), *tokens))
    swapped = apart(ours, blip.score(state, blip.PUBLISHED, by_torch(x), tokens[0].flip(0), tokens[1].flip(0)))
    mistakes = {"no antialias": aliased, "the other prompt": swapped}
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
    """From Pillow's picture to score; the package resizes in 8 bits."""
    name, model = package
    x = pictures(2, *SIZE)
    theirs = torch.tensor([model.score(prompt, pil(image)) for prompt, image in zip(PROMPTS, x, strict=True)])
    numbers, mask = words()
    same = model.score_gard(numbers, mask, by_torch(x))[:, 0]
    other = apart(ours, model.score_gard(numbers, torch.ones_like(mask), by_torch(x))[:, 0])
    figures.check(Figure("imagereward", name, "score of the same pixels", apart(ours, same), 1e-3, {"no mask": other}))
    aliased = apart(model.score_gard(numbers, mask, by_torch(x, antialias=False))[:, 0], theirs)
    seen = apart(ours, theirs)
    assert apart(model.score_gard(numbers, mask, by_pillow(x))[:, 0], theirs) < 1e-4  # the rest is Pillow's
    figures.check(Figure("imagereward", name, "score, resized by Pillow", seen, 5e-2, {"no antialias": aliased}))
