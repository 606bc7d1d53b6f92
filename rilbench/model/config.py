"""The settings of the model and of its adapters: `model` and `adapter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rilbench.contracts.settings import setting


@dataclass(frozen=True)
class ModelConfig:
    """The text-to-image model and how it is sampled."""

    path: str = setting(
        "package:rilbench_shapes/weights/pipeline", "diffusers folder, `package:` path or Hub id", path=True
    )
    revision: str | None = setting(None, "commit, tag or branch of a Hub id", longest=200)
    lora: tuple[str, ...] = setting(
        (),
        "LoRAs that are part of the base model, each a file, folder or hub:OWNER/REPO/FILE, with @SCALE at the end",
        path=True,
        added=True,
    )
    device: str = setting("auto", "auto, cpu, cuda or one GPU, such as cuda:1", longest=60)
    precision: Literal["fp32", "bf16"] = setting(
        "fp32", "precision of the frozen weights; adapters and the last denoising steps are always fp32"
    )
    vae_precision: Literal["fp32", "bf16"] = setting(
        "fp32", "precision of the autoencoder; bf16 needs less memory and rounds small differences of images away"
    )
    steps: int = setting(10, "N, denoising steps", at_least=1, at_most=1000)
    sampler: Literal["auto", "ddim", "lcm"] = setting(
        "auto", "auto means lcm for consistency models, Euler steps for flow matching, ddim otherwise"
    )
    guidance: float = setting(
        2.0,
        "classifier-free guidance weight, off at 1 or below; an input of guidance-distilled models",
        at_least=0,
        at_most=100,
    )
    negative_prompt: str = setting(
        "",
        "text of the unguided branch in place of none, for prompts without one of their own; needs guidance above 1",
        added=True,
    )
    guidance_gradient: bool = setting(True, "false: no gradient through the unguided forward pass, which saves memory")
    spacing: Literal["leading", "trailing", "linspace"] = setting("leading", "DDIM timestep spacing")
    resolution: int | None = setting(
        None,
        "image side in pixels, at most 4 times the model's own; null means the model's own",
        at_least=8,
        at_most=16_384,
    )
    gradient_checkpointing: bool = setting(
        False, "recompute activations of denoiser and autoencoder: less memory, one more forward pass"
    )
    vae_slicing: bool = setting(False, "decode one image at a time, which needs less memory")

    def __post_init__(self) -> None:
        if self.lora:
            from rilbench.files.loras import loras_of  # of few configurations

            loras_of(self.lora, "lora")  # checks the scales


@dataclass(frozen=True)
class AdapterConfig:
    """The LoRA pairs of the adapter group (Eq. 4)."""

    rank: int = setting(4, "rank r of every pair A B", at_least=1, at_most=1024)
    targets: tuple[str, ...] = setting(
        ("to_q", "to_k", "to_v", "to_out.0"), "name endings of the adapted linear layers", longest=200
    )
    init: Literal["paper", "peft"] = setting(
        "paper", "paper: A Kaiming-uniform, B zero; peft: A zero, B Kaiming-uniform"
    )
