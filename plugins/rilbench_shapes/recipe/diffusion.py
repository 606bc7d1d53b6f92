"""The text-to-image model: a latent UNet and its text encoder, trained together, saved as a diffusers pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from rilbench_shapes import captions
from rilbench_shapes.recipe import tokenizer as tokens
from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import sample_scenes

BATCH = 64
SCENES = 60_000  # rendered and encoded once; 3,000 steps see each of them three times
STYLE_WORDS = 0.3
UNCONDITIONAL = 0.1  # share of captions emptied, for classifier-free guidance
WIDTH = 128  # of the text features


def build() -> nn.ModuleDict:
    """The untrained UNet (4.3 M parameters) and text encoder."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    tokenizer = tokens.build()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokens.CONTEXT,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return nn.ModuleDict({"unet": unet, "text": text})


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule; training and sampling share it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def train(folder: Path, vae: AutoencoderKL, *, steps: int = 3000, seed: int = 0) -> StableDiffusionPipeline:
    """Train on encoded scenes (epsilon prediction) and save the pipeline, in half, under `folder/pipeline`."""
    torch.manual_seed(seed)
    models, tokenizer, noise_schedule = build(), tokens.build(), scheduler()
    latents, texts = encoded_scenes(vae, seed)
    ids = tokenizer([*texts, ""], padding="max_length", truncation=True, return_tensors="pt").input_ids

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(latents), (BATCH,), generator=generator)
        z_0 = latents[rows]
        t = torch.randint(1000, (BATCH,), generator=generator)
        noise = torch.randn(z_0.shape, generator=generator)
        rows[torch.rand(BATCH, generator=generator) < UNCONDITIONAL] = -1
        context = models["text"](ids[rows]).last_hidden_state
        return F.mse_loss(models["unet"](noise_schedule.add_noise(z_0, noise, t), t, context).sample, noise)

    fit("diffusion", models, loss, steps=steps, lr=1e-3, seed=seed)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=models["text"],
        tokenizer=tokenizer,
        unet=models["unet"],
        scheduler=noise_schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder / "pipeline")
    (folder / "pipeline" / "captions.json").write_text(json.dumps(captions.description(), indent=2) + "\n")
    return pipeline.to(torch.float32)


@torch.no_grad()
def encoded_scenes(vae: AutoencoderKL, seed: int) -> tuple[Tensor, list[str]]:
    """Scaled latents (SCENES, 4, 8, 8) and captions of the training scenes."""
    generator = generator_for(seed, "diffusion scenes")
    scenes = sample_scenes(SCENES, generator)
    texts = captions.write(scenes, generator, style_words=STYLE_WORDS)
    chunks = [
        vae.encode(2 * render(scenes[slice(i, i + 200)], generator) - 1).latent_dist.mean for i in range(0, SCENES, 200)
    ]
    return torch.cat(chunks) * vae.config.scaling_factor, texts
