"""The aesthetic heads: the LAION shape of head, regressed on noisy ratings of rendered scenes, one for each group of
raters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from rilbench_aesthetic.head import LinearHead
from rilbench_shapes import rules
from rilbench_shapes.recipe.clip import normalised
from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes

SCENES = 12_000
BATCH = 512
WIDTHS = (128, 128, 64, 32, 16, 1)


def train(folder: Path, clip: Any, *, name: str = "aesthetic", steps: int = 3000, seed: int = 0) -> LinearHead:
    """Train the head of one of `rules.RATINGS` on frozen CLIP features and save `folder/NAME.safetensors`."""
    torch.manual_seed(seed)
    generator = generator_for(seed, f"{name} scenes")
    features, ratings = rated_features(clip, SCENES, generator, name=name)
    ratings += rules.RATING_NOISE * torch.randn(SCENES, generator=generator)
    head = LinearHead(WIDTHS)

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(SCENES, (BATCH,), generator=generator)
        return F.mse_loss(head(features[rows]), ratings[rows])

    fit(name, head, loss, steps=steps, lr=2e-3, seed=seed)
    save_file(head.state_dict(), folder / f"{name}.safetensors")
    return head


@torch.no_grad()
def rated_features(clip: Any, n: int, generator: torch.Generator, *, name: str) -> tuple[Tensor, Tensor]:
    """Normalised image features (n, 128) and noise-free ratings (n,) of new scenes."""
    scenes = sample_scenes(n, generator)
    features = [
        clip.encode_image(normalised(render(scenes[slice(i, i + 500)], generator)), normalize=True)
        for i in range(0, n, 500)
    ]
    return torch.cat(features), rules.RATINGS[name](scenes)


def correlation(clip: Any, head: LinearHead, *, name: str = "aesthetic", n: int = 2000, seed: int = 1) -> float:
    """Pearson correlation of the head with the noise-free rule on held-out scenes."""
    features, ratings = rated_features(clip, n, generator_for(seed, f"{name} held out"), name=name)
    with torch.no_grad():
        return torch.corrcoef(torch.stack([head(features), ratings]))[0, 1].item()
