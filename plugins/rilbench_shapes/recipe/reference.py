"""Evaluation data: reference statistics for FID, and the captions."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from rilbench_metrics.extractors import ExtractorSettings
from rilbench_metrics.fid import statistics
from rilbench_shapes import captions
from rilbench_shapes.probe import ProbeExtractor
from rilbench_shapes.recipe.fit import generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes

IMAGES = 20_000
KEPT = 2_000  # images whose features are stored, for kernel distances
# search: settings are chosen on prompts that no table measures; validate: shown while a stage trains
PROMPTS = {"train": 750, "eval": 50, "search": 50, "validate": 8}


def save_statistics(folder: Path, *, seed: int = 0) -> None:
    """Mean and covariance of the probe's features of rendered scenes, and some of the features, in
    `folder/fid.safetensors`."""
    generator = generator_for(seed, "fid reference")
    probe = ProbeExtractor(ExtractorSettings(model=str(folder / "probe.safetensors")), "cpu")
    features = []
    for _ in range(0, IMAGES, 500):
        images = render(sample_scenes(500, generator), generator)
        features.append(probe.features(images))
    every = torch.cat(features)
    mean, cov = statistics(every)
    values = {"mean": mean, "cov": cov, "n": torch.tensor([IMAGES]), "features": every[:KEPT].half()}
    about = {"extractor": probe.label, "images": str(IMAGES), "resize": "none"}
    save_file({k: v.contiguous() for k, v in values.items()}, folder / "fid.safetensors", metadata=about)


def save_prompts(folder: Path, *, seed: int = 0) -> None:
    """Disjoint sets of captions, drawn from all 2,800."""
    every = captions.every()
    drawn = iter(torch.randperm(len(every), generator=generator_for(seed, "prompts")).tolist())
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in PROMPTS.items():
        chosen = [every[i] for _, i in zip(range(count), drawn, strict=False)]
        (folder / f"{name}.txt").write_text("\n".join(chosen) + "\n")
