"""A tiny random pipeline of every family: 16 px images, 8 x 8 latents, one step of code from the published ones; and
the images that diffusers makes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5Tokenizer

from rilbench.model.config import ModelConfig
from rilbench.testing import tiny
from rilbench.testing.tiny import WIDTH

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
UNSAFE: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def stable_diffusion_2() -> Any:
    """Predicts v."""
    parts = tiny.parts()
    parts["scheduler"] = DDIMScheduler(
        **NOISE, prediction_type="v_prediction", steps_offset=1, clip_sample=False, set_alpha_to_one=False
    )
    return StableDiffusionPipeline(**parts, **UNSAFE)


def sd_turbo() -> Any:
    """One step, without guidance, by the Euler scheduler."""
    parts = tiny.parts()
    parts["scheduler"] = EulerDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="trailing")
    return StableDiffusionPipeline(**parts, **UNSAFE)


def latent_consistency() -> Any:
    """Guidance is an input; every step but the last adds noise."""
    parts = tiny.parts()
    parts["unet"] = tiny.unet(time_cond_proj_dim=8)
    parts["scheduler"] = LCMScheduler(**NOISE)
    return LatentConsistencyModelPipeline(**parts, **UNSAFE)


def stable_diffusion_xl() -> Any:
    """Two text encoders, sizes as inputs, all kinds of blocks."""
    extra = {
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": (1, 2),
        "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
        "cross_attention_dim": 2 * WIDTH,
    }
    return StableDiffusionXLPipeline(
        vae=tiny.vae(),
        text_encoder=_clip(CLIPTextModel),
        text_encoder_2=_clip(CLIPTextModelWithProjection),
        tokenizer=tiny.tokenizer(),
        tokenizer_2=tiny.tokenizer(),
        unet=tiny.unet(**extra),
        scheduler=EulerDiscreteScheduler(**NOISE, steps_offset=1, timestep_spacing="leading"),
    )


def stable_diffusion_3() -> Any:
    """Three text encoders and a transformer."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny.vae(scaling_factor=1.5, shift_factor=0.06),
        text_encoder=_clip(CLIPTextModelWithProjection),
        tokenizer=tiny.tokenizer(),
        text_encoder_2=_clip(CLIPTextModelWithProjection),
        tokenizer_2=tiny.tokenizer(),
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )


def flux() -> Any:
    """A transformer on patches, with guidance as an input and a shift that depends on the size."""
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=tiny.vae(scaling_factor=1.5, shift_factor=0.06),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=tiny.tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (stable_diffusion_2, sd_turbo, latent_consistency, stable_diffusion_xl, stable_diffusion_3, flux)
}


def save(family: str, folder: Path) -> Path:
    """Write the family's pipeline; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        FAMILIES[family]().save_pretrained(folder)
    return folder


def theirs(
    pipeline: Any,
    family: str,
    z: Tensor,
    prompts: Sequence[str],
    config: ModelConfig,
    monkeypatch: pytest.MonkeyPatch,
    **options: Any,
) -> Tensor:
    """What diffusers makes of the same noise z (B, C, h, w), at 16 pixels; options: more of its own."""
    pipeline.set_progress_bar_config(disable=True)
    scheduler, start = pipeline.scheduler, z[:, :4]
    if family == "sd_turbo":  # Euler's first state is a little larger than its noise
        scheduler.set_timesteps(config.steps)
        start = start * scheduler.init_noise_sigma.pow(-1) * (scheduler.init_noise_sigma**2 + 1).sqrt()
    if family == "flux":
        start = pipeline._pack_latents(start, 2, 4, *z.shape[2:])
    if family == "latent_consistency":  # its later noise
        later = iter(z[:, 4:].split(4, dim=1))
        monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *a, **k: next(later))
    options |= {"max_sequence_length": 256} if family == "stable_diffusion_3" else {}
    made: Tensor = pipeline(
        prompt=list(prompts),
        latents=start,
        num_inference_steps=config.steps,
        guidance_scale=config.guidance,
        height=16,
        width=16,
        output_type="pt",
        **options,
    ).images
    return made


def load_plain(family: str, folder: Path) -> Any:
    """The family's pipeline in a folder, as diffusers loads it."""
    options = {} if family in ("stable_diffusion_xl", "stable_diffusion_3", "flux") else UNSAFE
    return DiffusionPipeline.from_pretrained(folder, **options)


def _clip(kind: type) -> Any:
    return kind(tiny.text_config(projection_dim=WIDTH, num_hidden_layers=2))


def _t5() -> T5EncoderModel:
    config = T5Config(vocab_size=64, d_model=2 * WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return T5EncoderModel(config)


def _t5_tokenizer() -> T5Tokenizer:
    letters = [(letter, -1.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], extra_ids=0)
