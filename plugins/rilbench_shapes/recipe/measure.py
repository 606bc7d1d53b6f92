"""Measures the saved weights, loaded from disk as a run loads them, and writes the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip

from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench_aesthetic.head import LinearHead
from rilbench_shapes.recipe import aesthetic, card, clip, hps, vae


def measure(folder: Path) -> str:
    """The quality figures as JSON; also written to `folder/quality.json` and `folder/README.md`."""
    model = TextToImage.load(ModelConfig(path=str(folder / "pipeline"), device="cpu"))
    prompts = read_prompts(str(folder / "prompts" / "eval.txt"))
    card.picture(model, prompts[:8], folder / "samples.png")
    encoder = load_clip(folder / "clip")
    head = LinearHead.load(folder / "aesthetic.safetensors")
    quality: dict[str, float | dict[str, float]] = {
        "vae_psnr_db": vae.clean_psnr(model.vae),
        "clip_retrieval_of_100": clip.retrieval(encoder),
        "aesthetic_correlation": aesthetic.correlation(encoder, head),
        "hps_pair_accuracy": hps.accuracy(load_clip(folder / "hps")),
        "oracle_on_renders": card.oracle_on_renders(),
        "oracle_on_base_model": card.oracle_on_model(model, prompts),
    }
    card.write(folder, quality)
    return json.dumps(quality, indent=1)


def load_clip(folder: Path) -> Any:
    """A saved open_clip folder, frozen, in float32."""
    model = open_clip.create_model(f"local-dir:{folder}", precision="fp32")
    return model.eval().requires_grad_(False)
