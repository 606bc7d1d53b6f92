"""The autoencoder: 32 x 32 images to 8 x 8 latents of 4 channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import RESOLUTION, sample_scenes

BATCH = 24
KL_WEIGHT = 1e-3


def build() -> AutoencoderKL:
    """The untrained autoencoder, 3 levels, downsampling factor 4."""
    return AutoencoderKL(
        sample_size=RESOLUTION,
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=16,
    )


def train(folder: Path, *, steps: int = 3000, seed: int = 0) -> AutoencoderKL:
    """Train, set the scaling factor so that latents have unit variance, and save under `folder/vae`."""
    torch.manual_seed(seed)
    vae = build()

    def loss(generator: torch.Generator) -> Tensor:
        images = 2 * render(sample_scenes(BATCH, generator), generator) - 1
        posterior = vae.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        total: Tensor = F.l1_loss(decoded, images) + F.mse_loss(decoded, images) + KL_WEIGHT * kl
        return total

    fit("vae", vae, loss, steps=steps, lr=1e-3, seed=seed)
    generator = generator_for(seed, "vae scale")
    with torch.no_grad():
        latents = vae.encode(2 * render(sample_scenes(1000, generator), generator) - 1).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.save_pretrained(folder / "vae")
    return vae


def load(folder: Path) -> AutoencoderKL:
    """The trained autoencoder, frozen, in float32: of `folder/vae`, or of a finished pipeline."""
    place = folder / "vae" if (folder / "vae").exists() else folder / "pipeline" / "vae"
    vae = AutoencoderKL.from_pretrained(place, torch_dtype=torch.float32)
    vae.eval().requires_grad_(False)
    return vae


def clean_psnr(vae: AutoencoderKL, *, n: int = 500, seed: int = 1) -> float:
    """Mean reconstruction PSNR in dB on scenes without grain that training never saw."""
    generator = generator_for(seed, "vae psnr")
    scenes = sample_scenes(n, generator)
    images = render(replace(scenes, grain=torch.zeros(n)), generator)
    with torch.no_grad():
        decoded = vae.decode(vae.encode(2 * images - 1).latent_dist.mean).sample / 2 + 0.5
    error = (decoded.clamp(0, 1) - images).pow(2).mean((1, 2, 3))
    return float((-10 * error.log10()).mean())
