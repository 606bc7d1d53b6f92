"""The probe of the metrics: attributes and styles of rendered scenes, learned without captions and without CLIP."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from rilbench_shapes.probe import Probe
from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import blur, render
from rilbench_shapes.world import CONTENT, STYLE, Scenes, sample_scenes

BATCH = 64
DECODED = 8_000  # scenes that passed through the autoencoder, as every generated image does
SEED = 1000  # added to the seed: the probe starts from other numbers than the CLIP


def train(folder: Path, vae: AutoencoderKL, *, steps: int = 2500, seed: int = 0) -> Probe:
    """Train on renders, half of them decoded from their latents, and save `folder/probe.safetensors` in half."""
    torch.manual_seed(SEED + seed)
    probe = Probe()
    scenes, images = decoded_scenes(vae, DECODED, generator_for(seed, "probe scenes"))

    def loss(generator: torch.Generator) -> Tensor:
        new = sample_scenes(BATCH // 2, generator)
        rows = torch.randint(DECODED, (BATCH // 2,), generator=generator)
        pixels = torch.cat([disturbed(render(new, generator), generator), images[rows]])
        return loss_of(probe, pixels, [new, scenes[rows]])

    fit("probe", probe, loss, steps=steps, lr=2e-3, seed=seed)
    standardise(probe, generator_for(seed, "probe statistics"))
    state = {k: v.half() if v.is_floating_point() else v for k, v in probe.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "probe.safetensors")
    return probe


def loss_of(probe: Probe, images: Tensor, parts: list[Scenes]) -> Tensor:
    """Mean cross-entropy of the attributes plus the squared error of the styles."""
    content, style = probe(images)
    wanted = {name: torch.cat([getattr(part, name) for part in parts]) for name in CONTENT}
    entropy = torch.stack([F.cross_entropy(content[name], wanted[name]) for name in CONTENT]).mean()
    return entropy + F.mse_loss(style, torch.cat([styles(part) for part in parts]))


def styles(scenes: Scenes) -> Tensor:
    """Styles (B, 6), each scaled to its range in `STYLE`."""
    return torch.stack([(getattr(scenes, name) - low) / (high - low) for name, (low, high, _) in STYLE.items()], dim=1)


def disturbed(images: Tensor, generator: torch.Generator) -> Tensor:
    """A quarter slightly blurred, a quarter slightly noisy: generated images have both faults."""
    draw = torch.rand(2, len(images), generator=generator)
    images = blur(images, 0.8 * draw[0] * (draw[1] < 0.25))
    noise = torch.randn(images.shape, generator=generator)
    return (images + (0.04 * draw[0] * (draw[1] > 0.75))[:, None, None, None] * noise).clamp(0, 1)


@torch.no_grad()
def decoded_scenes(vae: AutoencoderKL, n: int, generator: torch.Generator) -> tuple[Scenes, Tensor]:
    """n scenes and their images (n, 3, 32, 32) after encoding and decoding."""
    scenes = sample_scenes(n, generator)
    parts = [slice(i, i + 100) for i in range(0, n, 100)]
    latents = [vae.encode(2 * render(scenes[part], generator) - 1).latent_dist.mean for part in parts]
    images = torch.cat([vae.decode(z).sample / 2 + 0.5 for z in latents])
    return scenes, images.clamp(0, 1)


@torch.no_grad()
def standardise(probe: Probe, generator: torch.Generator, *, batches: int = 40) -> None:
    """Recompute the features' mean and variance with the final weights, over rendered scenes."""
    probe.standard.reset_running_stats()
    probe.standard.momentum = None  # plain averages
    probe.standard.train()
    for _ in range(batches):
        probe.features(render(sample_scenes(500, generator), generator))
    probe.eval()


def style_correlation(probe: Probe, *, n: int = 2000, seed: int = 1) -> dict[str, float]:
    """Pearson correlation of each style with the probe's estimate, on held-out scenes."""
    generator = generator_for(seed, "probe held out")
    scenes = sample_scenes(n, generator)
    seen, wanted = probe(render(scenes, generator))[1], styles(scenes)
    return {name: torch.corrcoef(torch.stack([seen[:, i], wanted[:, i]]))[0, 1].item() for i, name in enumerate(STYLE)}
