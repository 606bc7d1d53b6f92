"""`aesthetic` against the LAION predictor as its authors describe it, on transformers' CLIP, written anew here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from parity_clips import checkpoint, other_activation, transformers_model
from parity_pictures import apart, by_pillow, by_torch, pictures
from parity_records import Figure, Figures
from torch import Tensor, nn

from rilbench_aesthetic import Aesthetic, AestheticSettings

MODEL = "ViT-L-14-quickgelu"
REFERENCE = f"LAION's formula, transformers {version('transformers')}"
SIZE = (512, 640)
Formula = Callable[[Tensor], Tensor]


def predictor() -> nn.Sequential:
    """Linear layers with dropout between them and no activation; the published slope of 17.996 and offset of 5.237."""
    sizes, dropout = (768, 1024, 128, 64, 16, 1), (0.2, 0.2, 0.1)
    layers: list[nn.Module] = []
    for i, (old, new) in enumerate(pairwise(sizes)):
        layers += [nn.Linear(old, new), *([nn.Dropout(dropout[i])] if i < 3 else [])]
    head = nn.Sequential(*layers).eval().requires_grad_(False)
    with torch.no_grad():
        offset = head(torch.zeros(768))
        slope = (head(torch.eye(768)) - offset).norm()
        head[-1].weight *= 17.996 / slope
        head[-1].bias += 5.237 - head(torch.zeros(768))
    return head


@pytest.fixture(scope="module")
def head() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return predictor()


@pytest.fixture(scope="module")
def reward(cache: Path, head: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Aesthetic:
    file = tmp_path_factory.mktemp("head") / "sac+logos+ava1-l14-linearMSE.pth"
    torch.save({f"layers.{name}": value for name, value in head.state_dict().items()}, file)
    return Aesthetic(AestheticSettings(clip=MODEL, pretrained=str(checkpoint(MODEL, cache)), head=str(file)))


@pytest.fixture(scope="module")
def formula(cache: Path, head: nn.Sequential) -> Formula:
    """Normalised pixels to scores."""
    clip = transformers_model(MODEL, checkpoint(MODEL, cache))

    def score(pixels: Tensor) -> Tensor:
        features = clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output)
        return head(features / features.norm(dim=-1, keepdim=True))[:, 0]

    return score


def test_scores(reward: Aesthetic, formula: Formula, head: nn.Sequential, figures: Figures) -> None:
    """With the same resize in both, then as published with Pillow's, which rounds to 8 bits once more."""
    x = pictures(2, *SIZE)
    with torch.no_grad():
        ours, theirs, published = reward(x, ["", ""]), formula(by_torch(x)), formula(by_pillow(x))
        with other_activation(reward.encoder.model):
            gelu = apart(reward(x, ["", ""]), theirs)
        aliased = apart(formula(by_torch(x, antialias=False)), published)
        between = nn.Sequential(*(layer for part in head for layer in (part, nn.ReLU())))[:-1].eval()
        relu = apart(between(reward.encoder.image_features(x))[:, 0], theirs)
    assert (theirs[0] - theirs[1]).abs() > 100 * apart(ours, theirs)  # or the test says nothing
    mistakes = {"GELU": gelu, "ReLU in the head": relu}
    figures.check(Figure("aesthetic", REFERENCE, "score", apart(ours, theirs), 1e-4, mistakes))
    seen, mistakes = apart(ours, published), {"no antialias": aliased}
    figures.check(Figure("aesthetic", REFERENCE, "score, resized by Pillow", seen, 2e-2, mistakes))


def test_gradient(reward: Aesthetic, formula: Formula, figures: Figures) -> None:
    """With respect to the picture: the length of the difference over the length."""
    x = pictures(1, *SIZE).requires_grad_()
    (ours,) = torch.autograd.grad(reward(x, [""]).sum(), x)
    (theirs,) = torch.autograd.grad(formula(by_torch(x)).sum(), x)
    (aliased,) = torch.autograd.grad(formula(by_torch(x, antialias=False)).sum(), x)
    off, mistaken = (float((g - theirs).norm() / theirs.norm()) for g in (ours, aliased))
    figures.check(Figure("aesthetic", REFERENCE, "gradient, relative", off, 1e-3, {"no antialias": mistaken}))
