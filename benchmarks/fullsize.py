"""What a training step of a full-size model costs, with random weights of the published architecture:

    python benchmarks/fullsize.py --model sd15 --steps 2                       # CPU: one or two steps
    python benchmarks/fullsize.py --model sdxl --device cuda --compile         # GPU
    python benchmarks/fullsize.py --model sd15 --batch 2 --levers              # rid's first stage, each memory lever

The pipeline and the reward's encoder are written to --folder once and loaded by the code that loads published ones.
`seconds` are of the fastest step of each kind: the kinds take turns, and other work on the machine only adds. `peak` is
the most memory while a kind ran, in GB: of the process on a CPU (where the system tells it, as Linux does), of the
allocator with CUDA. `counted` is what a run reckons with before it starts: weights, and what a step needs beside them.
`floor` is what no strategy can do without: the denoiser's forwards, one backward, one decode, one reward.
"""

from __future__ import annotations

import gc
import json
import math
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from step import PROMPT, Bench, Kind

from rilbench.engine.budget.memory import count
from rilbench.engine.config import RunConfig, compose
from rilbench.engine.layers import values_of
from rilbench.testing import tiny
from rilbench.training.step import WeightedReward

STAGES = (1, 8)
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CHECKPOINTING = "model.gradient_checkpointing=true"
LEVERS: dict[str, list[str]] = {
    "none": [],
    "checkpointing": [CHECKPOINTING],
    "checkpointing, decode in fp32": [CHECKPOINTING, "model.vae_precision=fp32"],
    "checkpointing, guidance without gradient": [CHECKPOINTING, "model.guidance_gradient=false"],
    "checkpointing, micro-batches of 1": [CHECKPOINTING, "train.micro_batch=1"],
    "micro-batches of 1, guidance without gradient": ["train.micro_batch=1", "model.guidance_gradient=false"],
}


def main(
    model: Annotated[str, typer.Option(help="sd15, sdxl or tiny")] = "sd15",
    reward: Annotated[str, typer.Option(help="hps (ViT-H/14) or compressibility")] = "hps",
    device: str = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "bf16",
    resolution: Annotated[int, typer.Option(help="Pixels a side; 0 is the model's own")] = 512,
    batch: Annotated[int, typer.Option(help="Images a step")] = 1,
    steps: Annotated[int, typer.Option(help="N, denoising steps")] = 50,
    rounds: Annotated[int, typer.Option(help="Timed steps of each kind, after one that is not; 0 times that one")] = 2,
    checkpointing: bool = True,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the denoiser")] = False,
    levers: Annotated[bool, typer.Option("--levers", help="Each memory lever, for rid's first stage alone")] = False,
    folder: Path = Path("fullsize"),
) -> None:
    """Print a line of JSON for every setting, and one for the memory of decoding a batch when measuring."""
    build(model, folder, reward)
    shape = {"steps": steps, "guidance": 7.5, "resolution": resolution or None}
    own = {
        "model": {"path": f"{folder}/{model}", "precision": precision, "device": device} | shape,
        "train": {"samples": 1_000_000, "batch_size": batch, "log_gradients_every": 1_000_000},
        "reward_settings": {"hps": {"model": f"{folder}/clip"}},
    }
    told = {"model": model, "precision": precision, "resolution": resolution, "batch": batch, "steps": steps}
    named = LEVERS if levers else {"checkpointing": [CHECKPOINTING]} if checkpointing else {"none": []}
    for name, changes in named.items():
        config = compose([own, values_of(changes)])
        found = measure(config, reward, ["rid@1"] if levers else KINDS, rounds, compiled=compile)
        typer.echo(json.dumps(told | {"levers": name, "compiled": compile} | found))
    for slicing in ("false", "true") if levers else ():
        config = compose([own, values_of([f"model.vae_slicing={slicing}"])])
        name = "VAE slicing" if slicing == "true" else "none"
        typer.echo(json.dumps(told | {"levers": name} | decoding(config, reward, rounds)))


KINDS = ["floor", *(f"{strategy}@{stage}" for stage in STAGES for strategy in ("baseline", "rid"))]


def measure(config: RunConfig, reward: str, kinds: list[str], rounds: int, *, compiled: bool) -> dict[str, Any]:
    """Seconds and peak gigabytes of a step of each kind."""
    bench = Bench(config, reward)
    found: dict[str, Any] = {"device": bench.model.device, "threads": torch.get_num_threads()}
    found["parameters"] = sum(p.numel() for p in bench.model.network.parameters())
    found["counted"] = counted(bench)
    if compiled:
        torch._functorch.config.donated_buffer = False  # gradient norms by term differentiate a graph twice
        bench.model.network.compile()
    made = {kind: floor(bench) if kind == "floor" else bench.step(*of(kind)) for kind in kinds}
    found["seconds"], found["peak"] = timed(made, bench.model.device, rounds)
    if "floor" in (seconds := found["seconds"]):
        found["over_floor"] = {s: round(seconds[f"{s}@1"] / seconds["floor"], 3) for s in ("baseline", "rid")}
        found["stage_8_over_1"] = {s: round(seconds[f"{s}@8"] / seconds[f"{s}@1"], 3) for s in ("baseline", "rid")}
    del bench
    gc.collect()
    return found


def of(kind: str) -> tuple[str, int]:
    """Strategy and stage of a kind, such as rid@8."""
    strategy, _, stage = kind.partition("@")
    return strategy, int(stage)


def counted(bench: Bench) -> dict[str, float]:
    """Gigabytes by rilbench's own count: the weights, and a training step on the batch beside them."""
    train = bench.config.train
    rewards = {bench.name: bench.components.reward(bench.name)}
    memory = count(bench.model, bench.group, rewards, prompt=PROMPT, last_steps=train.last_steps)
    images = train.micro_batch or train.batch_size
    step = memory.training(images, rewards, checkpointing=bench.config.model.gradient_checkpointing)
    return {"weights": round(memory.weights / 1e9, 2), "step": round(step / 1e9, 2)}


def floor(bench: Bench) -> Kind:
    """N forwards, the last with gradient to its input, one decode, one reward, one backward; no adapters."""
    model, size = bench.model, bench.config.train.batch_size
    score = WeightedReward({bench.name: bench.components.reward(bench.name)}, {bench.name: 1.0})
    prompts = [PROMPT] * size

    def step() -> None:
        z = model.rollout(torch.zeros(size, *model.latent_shape), prompts, stop=1).requires_grad_()
        score(model.decode(model.finish(z, prompts, last_steps=1)), prompts).mean().backward()  # type: ignore[no-untyped-call]

    return lambda: bench.group.load_chain([]), step


def decoding(config: RunConfig, reward: str, rounds: int) -> dict[str, Any]:
    """Seconds and peak gigabytes of decoding a batch without gradient, as when measuring."""
    bench = Bench(config, reward)
    z = torch.randn(config.train.batch_size, *bench.model.latent_shape, device=bench.model.device)

    def decode() -> None:
        with torch.no_grad():
            bench.model.decode(z)

    seconds, peak = timed({"decode": (lambda: None, decode)}, bench.model.device, rounds)
    return {"device": bench.model.device, "seconds": seconds, "peak": peak}


def timed(kinds: dict[str, Kind], device: str, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of the fastest step of each kind, the first not counted, and the peak in GB; the kinds take turns."""
    cuda = device.startswith("cuda")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    peak = dict.fromkeys(kinds, 0.0)
    for turn in range(rounds + 1):
        for kind, (prepare, step) in kinds.items():
            prepare()
            gc.collect()
            if cuda:
                torch.cuda.synchronize()
            reset_peak(cuda)
            start = time.perf_counter()
            step()
            if cuda:
                torch.cuda.synchronize()
            taken, most = time.perf_counter() - start, peak_bytes(cuda)
            typer.echo(f"{kind}: {taken:.1f} s, {most / 1e9:.2f} GB", err=True)
            if turn or not rounds:
                seconds[kind].append(taken)
                peak[kind] = max(peak[kind], most)
    return (
        {kind: round(min(found), 3) for kind, found in seconds.items()},
        {kind: round(found / 1e9, 2) for kind, found in peak.items()},
    )


MEMORY, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(cuda: bool) -> None:
    """Start the peak again."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    elif RESET.exists():
        RESET.write_text("5")


def peak_bytes(cuda: bool) -> float:
    """Since `reset_peak`; NaN where the system does not tell it."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    if not (MEMORY.exists() and RESET.exists()):
        return math.nan
    (line,) = [line for line in MEMORY.read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


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
