"""Measures the saved weights on held-out data, loaded from disk as a run loads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from rilbench.contracts.prompt import Prompt
from rilbench.evaluation.evaluate import generate
from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench_aesthetic.head import LinearHead
from rilbench_shapes import captions, rules
from rilbench_shapes.attributes import probabilities
from rilbench_shapes.oracle import agreement
from rilbench_shapes.probe import Probe
from rilbench_shapes.recipe import aesthetic, clip, hps, probe, vae
from rilbench_shapes.recipe.fit import generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes


def measure(folder: Path) -> str:
    """The quality figures as JSON; also written to `folder/quality.json`."""
    model = TextToImage.load(ModelConfig(path=str(folder / "pipeline"), device="cpu"))
    encoder, seen = load_clip(folder / "clip"), Probe.load(folder / "probe.safetensors")
    rendered, generated = renders(), generations(model, read_prompts(str(folder / "prompts" / "eval.txt")))
    quality: dict[str, float | dict[str, float]] = {
        "vae_psnr_db": vae.clean_psnr(model.vae),
        "clip_retrieval_of_100": clip.retrieval(encoder),
        "clip_score_of_renders": clip_scores(encoder),
        **{
            f"{name}_correlation": aesthetic.correlation(
                encoder, LinearHead.load(folder / f"{name}.safetensors"), name=name
            )
            for name in rules.RATINGS
        },
        "hps_pair_accuracy": hps.accuracy(load_clip(folder / "hps")),
        "oracle_on_renders": means(agreement(*rendered)),
        "oracle_on_base_model": means(agreement(*generated)),
        "attributes_on_renders": means(attributes(seen, *rendered)),
        "attributes_on_base_model": means(attributes(seen, *generated)),
        "attributes_of_other_captions": means(attributes(seen, rendered[0], rendered[1][1:] + rendered[1][:1])),
        "probe_style_correlation": probe.style_correlation(seen),
    }
    text = json.dumps(quality, indent=1)
    (folder / "quality.json").write_text(text)
    return text


def load_clip(folder: Path) -> Any:
    """A saved open_clip folder, frozen, in float32."""
    model = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
    return model.eval().requires_grad_(False)


def renders(*, n: int = 2000, seed: int = 1) -> tuple[Tensor, list[str]]:
    """Images (n, 3, 32, 32) of new scenes and their captions."""
    generator = generator_for(seed, "oracle")
    scenes = sample_scenes(n, generator)
    return render(scenes, generator), captions.write(scenes)


def generations(
    model: TextToImage, prompts: list[Prompt], *, images: int = 8, seed: int = 1
) -> tuple[Tensor, list[str]]:
    """The base model's images of prompts and, for each image, its prompt."""
    parts = []
    for prompt in prompts:
        noise = evaluation_noise(seed, prompt.text, range(images), model.latent_shape)
        parts.append(generate(model, [prompt] * images, noise))
    return torch.cat(parts), [prompt.text for prompt in prompts for _ in range(images)]


def attributes(seen: Probe, images: Tensor, prompts: list[str]) -> dict[str, Tensor]:
    """The probability (B,) that the probe gives to each attribute of the captions."""
    return probabilities(seen, images, captions.contents(prompts, "probe"))


def clip_scores(encoder: Any, *, n: int = 1000, seed: int = 1) -> dict[str, float]:
    """Percentiles of 100 times the cosine of renders and their own captions, which name no style."""
    generator = generator_for(seed, "clip scores")
    scenes = sample_scenes(n, generator)
    image = encoder.encode_image(clip.normalised(render(scenes, generator)), normalize=True)
    text = encoder.encode_text(clip.tokenize(captions.write(scenes)), normalize=True)
    scores = 100 * (image * text).sum(1)
    return {f"{share:.0%} below": scores.quantile(share).item() for share in (0.05, 0.5, 0.95)}


def means(scores: dict[str, Tensor]) -> dict[str, float]:
    return {name: score.float().mean().item() for name, score in scores.items()}
