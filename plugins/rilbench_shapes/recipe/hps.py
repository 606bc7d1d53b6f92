"""The preference model: CLIP fine-tuned on synthetic preference pairs with HPS v2's loss."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rilbench_shapes import captions, rules
from rilbench_shapes.recipe import clip as clips
from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import CONTENT, Scenes, sample_content, sample_scenes, sample_style

BATCH = 96  # pairs
WRONG = 0.25  # chance that one attribute of a candidate differs from the caption's


def train(folder: Path, clip: Any, *, steps: int = 1900, clear_steps: int = 600, seed: int = 0) -> Any:
    """Fine-tune a copy of the CLIP model and save it under `folder/hps`."""
    torch.manual_seed(seed)
    model = copy.deepcopy(clip).requires_grad_(True)
    model.logit_scale.requires_grad_(False)  # HPS v2 scores are raw cosines; the scale only sharpens the loss

    def loss(generator: torch.Generator, tie: float = 0.0) -> Tensor:
        texts, first, second, prefers_first = preference_pairs(BATCH, generator, tie=tie)
        logits = scores(model, texts, first, second) * model.logit_scale.exp().clamp(max=100)
        return F.cross_entropy(logits, (~prefers_first).long())

    fit("hps", model, loss, steps=steps, lr=3e-4, seed=seed)
    model.requires_grad_(True).logit_scale.requires_grad_(False)
    fit("hps-clear", model, partial(loss, tie=rules.TIE), steps=clear_steps, lr=1.5e-4, seed=seed)
    clips.save(model, folder / "hps")
    return model


def preference_pairs(n: int, generator: torch.Generator, *, tie: float) -> tuple[list[str], Tensor, Tensor, Tensor]:
    """Captions, two candidate images (n, 3, 32, 32) each, and whether (n,) the user prefers the first.

    Pairs whose noisy utilities differ by less than `tie` are not recorded.
    """
    drawn = 2 * n
    wanted = sample_scenes(drawn, generator)
    candidates = [_candidate(wanted, generator) for _ in range(2)]
    noise = rules.PREFERENCE_NOISE * torch.randn(2, drawn, generator=generator)
    gap = rules.utility(candidates[0], wanted) - rules.utility(candidates[1], wanted) + noise[0] - noise[1]
    kept = (gap.abs() >= tie).nonzero()[:n, 0]
    first, second = (render(c[kept], generator) for c in candidates)
    return captions.write(wanted[kept]), first, second, gap[kept] > 0


def scores(model: Any, texts: list[str], first: Tensor, second: Tensor) -> Tensor:
    """Cosines (n, 2) of both candidates with their caption."""
    text = model.encode_text(clips.tokenize(texts), normalize=True)
    image = model.encode_image(clips.normalised(torch.cat([first, second])), normalize=True)
    return torch.stack([(part * text).sum(1) for part in image.chunk(2)], dim=1)


def accuracy(model: Any, *, n: int = 4000, seed: int = 1) -> float:
    """Share of held-out recorded pairs whose preferred image scores higher."""
    texts, first, second, prefers_first = preference_pairs(n, generator_for(seed, "hps held out"), tie=rules.TIE)
    with torch.no_grad():
        value = scores(model, texts, first, second)
    return ((value[:, 0] > value[:, 1]) == prefers_first).float().mean().item()


def _candidate(wanted: Scenes, generator: torch.Generator) -> Scenes:
    """A scene with a new style and some attributes of the content wrong."""
    n = len(wanted)
    other = sample_content(n, generator)
    content = {}
    for name in CONTENT:
        wrong = torch.rand(n, generator=generator) < WRONG
        content[name] = torch.where(wrong, other[name], getattr(wanted, name))
    return Scenes(**content, **sample_style(n, generator))
