"""What a training step of a full-size model costs, with random weights of the published architecture:

    python benchmarks/fullsize.py --model sd15 --steps 2                       # CPU: one or two steps
    python benchmarks/fullsize.py --model sdxl --device cuda --table           # GPU: every memory lever

The pipeline and the reward's encoder are written to --folder once and loaded by the code that loads published ones.
Times are of the second step of each kind, in seconds; memory is the process's peak (CPU) or the allocator's (CUDA).
`floor` is what no strategy can do without: the denoiser's forwards, one backward, one decode, one reward.
"""

from __future__ import annotations

import gc
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from step import PROMPT, Bench

from rilbench.config import RunConfig, compose, values_of
from rilbench.testing import tiny
from rilbench.training.step import WeightedReward

STAGES = (1, 8)
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
LEVERS: dict[str, list[str]] = {
    "none": [],
    "checkpointing": ["model.gradient_checkpointing=true"],
    "checkpointing, VAE slicing": ["model.gradient_checkpointing=true", "model.vae_slicing=true"],
    "checkpointing, decode in bf16": ["model.gradient_checkpointing=true", "model.vae_precision=bf16"],
    "checkpointing, guidance without gradient": [
        "model.gradient_checkpointing=true",
        "model.guidance_gradient=false",
    ],
    "checkpointing, micro-batches of 1": ["model.gradient_checkpointing=true", "train.micro_batch=1"],
}


def main(
    model: Annotated[str, typer.Option(help="sd15, sdxl or tiny")] = "sd15",
    reward: Annotated[str, typer.Option(help="hps (ViT-H/14) or compressibility")] = "hps",
    device: str = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "bf16",
    resolution: Annotated[int, typer.Option(help="Pixels a side; 0 is the model's own")] = 512,
    batch: Annotated[int, typer.Option(help="Images a step")] = 1,
    steps: Annotated[int, typer.Option(help="N, denoising steps")] = 50,
    table: Annotated[bool, typer.Option("--table", help="Every memory lever, not checkpointing alone")] = False,
    folder: Path = Path("fullsize"),
) -> None:
    """Print one JSON line for every lever."""
    build(model, folder, reward)
    for name in LEVERS if table else ["checkpointing"]:
        own = {
            "model": {
                "path": f"{folder}/{model}",
                "precision": precision,
                "device": device,
                "steps": steps,
                "guidance": 7.5,
                "resolution": resolution or None,
            },
            "train": {"samples": 1_000_000, "batch_size": batch, "log_gradients_every": 1_000_000},
            "reward": {"hps": {"model": f"{folder}/clip"}},
        }
        config = compose([own, values_of(LEVERS[name])], "benchmark")
        told = {"model": model, "precision": precision, "resolution": resolution, "batch": batch, "steps": steps}
        typer.echo(json.dumps(told | {"levers": name} | measure(config, reward)))


def measure(config: RunConfig, reward: str) -> dict[str, Any]:
    """Seconds and peak gigabytes of a step of each kind, and of the floor."""
    bench = Bench(config, reward)
    parameters = sum(p.numel() for p in bench.model.network.parameters())
    found: dict[str, Any] = {"device": bench.model.device, "parameters": parameters, "seconds": {}, "gb": {}}
    kinds = {"floor": floor(bench)} | {f"{s}@{n}": bench.step(s, n) for n in STAGES for s in ("baseline", "rid")}
    for kind, (prepare, step) in kinds.items():
        prepare()
        found["seconds"][kind], found["gb"][kind] = timed(step, bench.model.device)
    seconds = found["seconds"]
    found["over_floor"] = {s: round(seconds[f"{s}@1"] / seconds["floor"], 3) for s in ("baseline", "rid")}
    found["stage_8_over_1"] = {s: round(seconds[f"{s}@8"] / seconds[f"{s}@1"], 3) for s in ("baseline", "rid")}
    del bench
    gc.collect()
    return found


def floor(bench: Bench) -> tuple[Callable[[], None], Callable[[], None]]:
    """N forwards, the last with gradient to its input, one decode, one reward, one backward; no adapters."""
    model, size = bench.model, bench.config.train.batch_size
    score = WeightedReward({bench.name: bench.components.reward(bench.name)}, {bench.name: 1.0})
    prompts = [PROMPT] * size

    def step() -> None:
        z = model.rollout(torch.zeros(size, *model.latent_shape), prompts, stop=1).requires_grad_()
        score(model.decode(model.finish(z, prompts, last_steps=1)), prompts).mean().backward()  # type: ignore[no-untyped-call]

    return lambda: bench.group.load_chain([]), step


def timed(step: Callable[[], None], device: str) -> tuple[float, float]:
    """Seconds of the second call, and the peak of both in GB."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(seconds, 3), round(peak / 1e9, 2)


def build(model: str, folder: Path, reward: str) -> None:
    """Write the random pipeline, in bf16, and the reward's encoder, in fp16, unless they are there."""
    makers = {"sd15": sd15, "sdxl": sdxl, "tiny": lambda: None}
    if model == "tiny":
        tiny.save_pipeline(folder / model)
    elif not (folder / model / "model_index.json").exists():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            pipeline = makers[model]()
        finally:
            torch.set_default_dtype(torch.float32)
        pipeline.save_pretrained(folder / model)
    if reward == "hps" and not (folder / "clip" / "open_clip_config.json").exists():
        clip("ViT-H-14", folder / "clip")


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
    """CLIP's: that of ViT-L/14, or with a projection of the given sizes."""
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


if __name__ == "__main__":
    typer.run(main)
