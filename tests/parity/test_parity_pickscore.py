"""`pickscore` against open_clip's ViT-H/14 and tokenizer: the reward itself runs on transformers'."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from parity_clips import checkpoint, other_activation, tokenizer, transformers_model
from parity_pictures import PROMPTS, apart, by_pillow, by_torch, pictures
from parity_records import Figure, Figures
from torch import Tensor
from torch.nn import functional as F

from rilbench_pickscore import PickScore, PickScoreSettings

MODEL = "ViT-H-14"
REFERENCE = f"open_clip {version('open_clip_torch')}"
SIZE = (640, 512)


@pytest.fixture(scope="module")
def reward(cache: Path) -> PickScore:
    folder = cache / "pickscore"
    if not folder.exists():
        transformers_model(MODEL, checkpoint(MODEL, cache)).save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return PickScore(PickScoreSettings(model=str(folder), processor=str(folder)))


@pytest.fixture(scope="module")
def clip(cache: Path) -> Any:
    model = open_clip.create_model(MODEL, str(checkpoint(MODEL, cache)), weights_only=True)
    return model.eval().requires_grad_(False)


@torch.no_grad()
def test_scores(reward: PickScore, clip: Any, figures: Figures) -> None:
    """exp(logit scale) times the cosine; the mistakes on the first picture alone, because each costs a forward."""
    x, prompts = pictures(2, *SIZE), [PROMPTS[0], PROMPTS[1] * 20]  # the second is cut to 77 tokens
    words = F.normalize(clip.encode_text(open_clip.get_tokenizer(MODEL)(prompts)), dim=-1)

    def formula(pixels: Tensor) -> Tensor:
        cosine = (F.normalize(clip.encode_image(pixels), dim=-1) * words[: len(pixels)]).sum(1)
        return clip.logit_scale.exp() * cosine

    ours, theirs, published = reward(x, prompts), formula(by_torch(x)), formula(by_pillow(x[:1]))
    with other_activation(clip):
        quick = apart(ours[:1], formula(by_torch(x[:1])))
    aliased = apart(formula(by_torch(x[:1], antialias=False)), published)
    seen = apart(ours, theirs)
    assert (theirs[0] - theirs[1]).abs() > 100 * seen  # or the test says nothing
    unscaled = apart(ours / clip.logit_scale.exp(), theirs)
    mistakes = {"QuickGELU": quick, "no logit scale": unscaled}
    figures.check(Figure("pickscore", REFERENCE, "score", seen, 1e-4, mistakes))
    seen = apart(ours[:1], published)
    figures.check(Figure("pickscore", REFERENCE, "score, resized by Pillow", seen, 1e-2, {"no antialias": aliased}))
