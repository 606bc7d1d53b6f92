"""A random Stable-Diffusion-like pipeline of 39 k parameters: 16 px images, 8 x 8 latents, no download."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 32  # tokens
WIDTH = 16  # of the text features


def parts() -> dict[str, Any]:
    """The pipeline's parts by name; the same each time, and the global random generator is not touched."""
    from diffusers import DDIMScheduler
    from transformers import CLIPTextModel

    betas: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = {"text_encoder": CLIPTextModel(text_config()), "unet": unet(), "vae": vae()}
    return models | {"tokenizer": tokenizer(), "scheduler": scheduler}


def save_pipeline(folder: Path) -> None:
    """Write a diffusers folder."""
    from diffusers import StableDiffusionPipeline

    nothing: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    StableDiffusionPipeline(**parts(), **nothing).save_pretrained(folder)


@cache
def tokenizer(length: int = CONTEXT) -> Any:
    """A CLIP tokenizer without merges: each byte is a token, and the text is cut to `length` tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=length)


def text_config(**options: Any) -> Any:
    """Of a CLIP text encoder; the options are changed or added."""
    from transformers import CLIPTextConfig

    words = tokenizer()
    settings = {
        "vocab_size": len(words),
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    return CLIPTextConfig(**settings | options)


def unet(**options: Any) -> Any:
    """A denoiser; the options are changed or added."""
    from diffusers import UNet2DConditionModel

    settings = {
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (8,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D",),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**settings | options)


def vae(**options: Any) -> Any:
    """An autoencoder; the options are added."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=16,
        **options,
    )
