"""Models of the published architectures with random weights, written once and loaded like published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from rilbench.testing import tiny

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def build(model: str, folder: Path, reward: str) -> list[str]:
    """Write the random pipeline, in bf16, and the reward's encoder, in fp16, unless they are there.

    Returns the settings that name them. model: sd15, sdxl or tiny.
    """
    if model == "tiny":
        tiny.save_pipeline(folder / model)
    elif not (folder / model / "model_index.json").exists():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            pipeline = {"sd15": sd15, "sdxl": sdxl}[model]()
        finally:
            torch.set_default_dtype(torch.float32)
        pipeline.save_pretrained(folder / model)
    if reward == "hps" and not (folder / "clip" / "open_clip_config.json").exists():
        clip("ViT-H-14", folder / "clip")
    encoder = [f"reward_settings.hps.model={folder}/clip", "reward_settings.hps.pretrained=null"]
    return [f"model.path={folder}/{model}", "model.revision=null", *encoder]


def sd15() -> Any:
    """860 M parameters in the UNet."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    return StableDiffusionPipeline(
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768),
        vae=autoencoder(512, 0.18215),
        text_encoder=text_encoder(),
        tokenizer=tiny.tokenizer(77),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    """2.6 billion parameters in the UNet, two text encoders."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return StableDiffusionXLPipeline(
        unet=unet,
        vae=autoencoder(1024, 0.13025),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(
            hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280
        ),
        tokenizer=tiny.tokenizer(77),
        tokenizer_2=tiny.tokenizer(77),
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False),
    )


def autoencoder(size: int, scale: float) -> Any:
    """The autoencoder of Stable Diffusion, 84 M parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=size,
        scaling_factor=scale,
    )


def text_encoder(**larger: int) -> Any:
    """CLIP's text encoder: that of ViT-L/14, or with a projection of the given sizes."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    words = tiny.tokenizer(77)
    sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    config = CLIPTextConfig(
        vocab_size=49408, max_position_embeddings=77, eos_token_id=words.eos_token_id, **sizes | larger
    )
    return CLIPTextModelWithProjection(config) if larger else CLIPTextModel(config)


def clip(architecture: str, folder: Path) -> None:
    """An open_clip folder: configuration and random weights in half precision."""
    import open_clip
    from safetensors.torch import save_file

    model = open_clip.create_model(architecture, precision="fp16")
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    described = {
        "model_cfg": open_clip.get_model_config(architecture),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(model),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(described))
