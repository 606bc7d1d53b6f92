"""Measures the saved weights on held-out data, loaded from disk as a run loads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from rilbench.evaluation.evaluate import generate
from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench_aesthetic.head import LinearHead
from rilbench_shapes import captions
from rilbench_shapes.oracle import agreement
from rilbench_shapes.recipe import aesthetic, clip, hps, vae
from rilbench_shapes.recipe.fit import generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes


def measure(folder: Path) -> str:
    """The quality figures as JSON; also written to `folder/quality.json`."""
    model = TextToImage.load(ModelConfig(path=str(folder / "pipeline"), device="cpu"))
    encoder = load_clip(folder / "clip")
    quality: dict[str, float | dict[str, float]] = {
        "vae_psnr_db": vae.clean_psnr(model.vae),
        "clip_retrieval_of_100": clip.retrieval(encoder),
        "aesthetic_correlation": aesthetic.correlation(encoder, LinearHead.load(folder / "aesthetic.safetensors")),
        "hps_pair_accuracy": hps.accuracy(load_clip(folder / "hps")),
        "oracle_on_renders": oracle_on_renders(),
        "oracle_on_base_model": oracle_on_model(model, read_prompts(str(folder / "prompts" / "eval.txt"))),
    }
    text = json.dumps(quality, indent=1)
    (folder / "quality.json").write_text(text)
    return text


def load_clip(folder: Path) -> Any:
    """A saved open_clip folder, frozen, in float32."""
    model = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
    return model.eval().requires_grad_(False)


def oracle_on_renders(*, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """Agreement of the oracle with the captions of rendered scenes, by attribute."""
    generator = generator_for(seed, "oracle")
    scenes = sample_scenes(n, generator)
    return _shares([agreement(render(scenes, generator), captions.write(scenes))])


def oracle_on_model(model: TextToImage, prompts: list[str], *, images: int = 8, seed: int = 1) -> dict[str, float]:
    """Agreement of the oracle with the prompts of the base model's images, by attribute."""
    hits = []
    for prompt in prompts:
        noise = evaluation_noise(seed, prompt, range(images), model.latent_shape)
        hits.append(agreement(generate(model, [prompt] * images, noise), [prompt] * images))
    return _shares(hits)


def _shares(hits: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: torch.cat([each[name] for each in hits]).float().mean().item() for name in hits[0]}
