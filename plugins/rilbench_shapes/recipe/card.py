"""The model card: what was trained on what, how the losses went, and the quality measured on held-out data."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor

from rilbench.evaluation.evaluate import generate
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench.store.grid import save_grid
from rilbench.store.layout import EvaluationFiles
from rilbench_shapes import captions
from rilbench_shapes.oracle import agreement
from rilbench_shapes.recipe.fit import generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes


def oracle_on_renders(*, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """Agreement of the oracle with the captions of rendered scenes, by attribute."""
    generator = generator_for(seed, "oracle")
    scenes = sample_scenes(n, generator)
    return _shares(agreement(render(scenes, generator), captions.write(scenes)))


def oracle_on_model(model: TextToImage, prompts: list[str], *, images: int = 8, seed: int = 1) -> dict[str, float]:
    """Agreement of the oracle with the prompts of the base model's images, by attribute."""
    found: dict[str, list[Tensor]] = {}
    for prompt in prompts:
        noise = evaluation_noise(seed, prompt, range(images), model.latent_shape)
        for name, hits in agreement(generate(model, [prompt] * images, noise), [prompt] * images).items():
            found.setdefault(name, []).append(hits)
    return _shares({name: torch.cat(hits) for name, hits in found.items()})


def picture(model: TextToImage, prompts: list[str], path: Path, *, columns: int = 4) -> None:
    """A grid of the base model's images: rows prompts, columns noises."""
    with TemporaryDirectory() as scratch:
        folders = [Path(scratch) / str(i) for i in range(columns)]
        for folder in folders:
            folder.mkdir()
        for row, prompt in enumerate(prompts):
            noise = evaluation_noise(0, prompt, range(columns), model.latent_shape)
            for folder, image in zip(folders, generate(model, [prompt] * columns, noise), strict=True):
                pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
                Image.fromarray(pixels).save(EvaluationFiles(folder).picture(row))
        save_grid(path, columns=[(f"noise {i}", folder) for i, folder in enumerate(folders)], prompts=prompts)


def write(folder: Path, quality: dict[str, float | dict[str, float]]) -> None:
    """`quality.json` for machines and `README.md`, the card, for people."""
    (folder / "quality.json").write_text(json.dumps(quality, indent=1))
    lines = [CARD, "| measured on held-out data | value |", "|---|---:|"]
    for name, value in quality.items():
        parts = {f"{name}: {key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        lines += [f"| {label} | {v:.3f} |" for label, v in parts.items()]
    lines += ["", "| training | steps | loss, first 100 steps | last 100 |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {100 * len(v)} | {v[0]:.4f} | {v[-1]:.4f} |" for name, v in losses(folder).items()]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def losses(folder: Path) -> dict[str, list[float]]:
    """The mean loss of every 100 steps of each training."""
    return {path.stem: [float(line) for line in path.read_text().split()] for path in sorted(folder.glob("*.losses"))}


def _shares(hits: dict[str, Tensor]) -> dict[str, float]:
    return {name: values.float().mean().item() for name, values in hits.items()}


CARD = """# Embedded weights of `shapes`

Made by `python -m rilbench_shapes train`, on two CPU cores, from images rendered by `renderer.py` alone; no outside
data took part. Seeds are fixed (every step draws from a generator keyed by seed, model and step). Weights are stored
in half precision. Licence: that of rilbench.

* `pipeline/`: a Stable-Diffusion-like diffusers pipeline (AutoencoderKL 1.7 M parameters, UNet2DConditionModel 4.3 M,
  CLIPTextModel 0.35 M, DDIM), epsilon prediction on 60,000 captioned scenes.
* `clip/`: an open_clip model on scenes and captions that often name the style.
* `aesthetic.safetensors`: a LAION-shaped head on the CLIP features, regressed on ratings by `rules.rating` with noise.
* `hps/`: the CLIP model fine-tuned on preference pairs by `rules.utility` with noise.
* `fid.safetensors`: mean and covariance of the CLIP features of 20,000 rendered scenes.

The shipped weights were made with this recipe, but the number of steps was changed while three of the trainings ran,
which bends the cosine schedule of the learning rate: CLIP's first phase was begun for 3,200 steps and ended at 2,000,
the diffusion model for 5,000 and ended at 3,000, the preference model was begun for 600 and prolonged to 1,100
and 1,900. Training again from nothing gives models of the same kind, not the same bytes.
"""
