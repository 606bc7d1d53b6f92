"""A tiny random pipeline and closed-form components, so that most tests need no trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from rilbench import MeanMetric, Reward, Stage, Step, Strategy, hookimpl
from rilbench.catalog import Catalog
from rilbench.config import RunConfig, load
from rilbench_shapes.recipe import diffusion, tokenizer


class Redness(Reward):
    """Mean of the red channel."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images[:, 0].mean((1, 2))


class Darkness(Reward):
    """Minus the mean square."""

    metrics = ("toy_contrast",)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return -images.pow(2).mean((1, 2, 3))


class NaNReward(Reward):
    """NaN in training, so that measuring the base model still works."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((1, 2, 3)) * (float("nan") if images.requires_grad else 1.0)


class WrongShape(Reward):
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((2, 3)) if images.requires_grad else images.mean((1, 2, 3))


class NoGradient(Reward):
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.detach().mean((1, 2, 3))


class Contrast(MeanMetric):
    higher_is_better = False

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return images.std((1, 2, 3))


class Likeness(MeanMetric):
    higher_is_better = True
    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        assert base_images is not None
        return 1 - (images - base_images).abs().mean((1, 2, 3))


class Forgetful(Strategy):
    """Plans nothing for the last reward."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards={name: 1.0}) for name in rewards[:-1]]

    def loss(self, step: Step) -> Tensor:
        return -step.reward(step.decode(step.denoise()))


class BrokenHook:
    @hookimpl
    def stage_finished(self, stage: int) -> None:
        raise RuntimeError("no disk in the drive")


TOYS = {
    "rilbench.rewards": {
        "red": "Redness",
        "dark": "Darkness",
        "nan": "NaNReward",
        "shape": "WrongShape",
        "flat": "NoGradient",
    },
    "rilbench.metrics": {"toy_contrast": "Contrast", "likeness": "Likeness"},
    "rilbench.strategies": {"forgetful": "Forgetful"},
}


def catalog(*more: EntryPoint) -> Catalog:
    """The installed components and the toys above."""
    toys = [EntryPoint(n, f"toy:{c}", group) for group, names in TOYS.items() for n, c in names.items()]
    return Catalog([*toys, *more])


def save_pipeline(folder: Path) -> None:
    """A random Stable-Diffusion-like pipeline: 16 px images, 8 x 8 latents, 20 k parameters."""
    torch.manual_seed(0)
    words = tokenizer.build()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=tokenizer.CONTEXT,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=16,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=words,
        unet=unet,
        scheduler=diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def config(folder: Path, *overrides: str) -> RunConfig:
    """A run of seconds on the pipeline in `folder/pipeline`, with its store in `folder/runs`."""
    file = folder / "toy.yaml"
    prompts = folder / "prompts.txt"
    if not file.exists():
        prompts.write_text("a red circle\n\na blue square\na green ring\n")
        file.write_text(
            f"""
rewards: [red, dark]
store: {folder}/runs
tracking: false
model: {{path: {folder}/pipeline, steps: 4, guidance: 2.0, device: cpu}}
adapter: {{rank: 2}}
train: {{samples: 8, batch_size: 2, lr: 0.05, prompts: {prompts}}}
evaluate: {{prompts: {prompts}, images_per_prompt: 2, batch_size: 4, metrics: [likeness], samples: 2, bootstrap: 50}}
"""
        )
    return load(str(file), overrides)
