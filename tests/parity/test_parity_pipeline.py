"""Stable Diffusion v1.5 at full size: our sampling and our exports against diffusers, from the same noise."""

from __future__ import annotations

import gc
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from parity_pictures import PROMPTS, apart
from parity_records import Figure, Figures
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.engine import run as engine
from rilbench.engine.config import load
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import open_run
from rilbench.host.catalog import Catalog
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench_release import command

REFERENCE = f"diffusers {version('diffusers')}"
PROMPT, STEPS, GUIDANCE = PROMPTS[0], 4, 7.5
SAMPLED, EXPORTED = 256, 128  # pixels a side: of the one comparison of sampling, of the many of exports
REWARDS = ("compressibility", "colorfulness", "sharpness")
BOUND = 1e-5


@pytest.fixture(scope="module")
def folder(cache: Path) -> Path:
    """The random pipeline, on disk in bf16; everybody loads it in float32."""
    from fullsize import build

    build("sd15", cache, "")
    return cache / "sd15"


@pytest.fixture(scope="module")
def run(folder: Path, cache: Path) -> Path:
    """Three stages of RID, each an update at 64 pixels: three pairs of rank 4 in each of the 128 adapted layers."""
    place = cache / "lora"
    place.mkdir(exist_ok=True)
    (place / "prompts.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    (place / "run.yaml").write_text(
        f"""
strategy: rid
rewards: [{", ".join(REWARDS)}]
store: {place}/runs
tracking: false
check_memory: false
model: {{path: {folder}, device: cpu, steps: 2, guidance: {GUIDANCE}, resolution: 64}}
train: {{samples: 1, batch_size: 1, lr: 0.01, prompts: {place}/prompts.txt}}
evaluate: {{prompts: {place}/prompts.txt, images_per_prompt: 1, metrics: [], pictures: 1}}
"""
    )
    made = engine.run(load(str(place / "run.yaml")), catalog=Catalog(), reporter=Reporter(quiet=True))
    return made.folder


def noise(pixels: int) -> Tensor:
    return torch.randn(1, 4, pixels // 8, pixels // 8, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def picture(model: TextToImage, pixels: int) -> Tensor:
    """By rilbench."""
    return model.decode(model.rollout(noise(pixels), [PROMPT]))


def plain(folder: Path) -> Any:
    """The pipeline as diffusers loads it."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(pipe: Any, pixels: int, *, guidance: float = GUIDANCE) -> Tensor:
    """By diffusers alone."""
    options = {"num_inference_steps": STEPS, "guidance_scale": guidance, "output_type": "pt"}
    made: Tensor = pipe(PROMPT, latents=noise(pixels), height=pixels, width=pixels, **options).images
    return made


def test_ddim(folder: Path, figures: Figures) -> None:
    """Pictures in [0, 1], 256 pixels, 4 steps, guidance 7.5."""
    settings = {"steps": STEPS, "guidance": GUIDANCE, "resolution": SAMPLED, "device": "cpu"}
    model = TextToImage.load(ModelConfig(path=str(folder), **settings))
    ours = picture(model, SAMPLED)
    del model
    gc.collect()
    pipe = plain(folder)
    expected = theirs(pipe, SAMPLED)
    other = apart(theirs(pipe, SAMPLED, guidance=GUIDANCE + 0.1), expected)
    assert expected.std() > 0.01  # or the test says nothing
    seen, mistakes = apart(ours, expected), {"guidance 7.6": other}
    figures.check(Figure("DDIM", REFERENCE, f"picture of {SAMPLED} pixels", seen, BOUND, mistakes))


@pytest.fixture(scope="module")
def stages(run: Path) -> dict[int, Tensor]:
    """Our pictures after the first two and after all three stages."""
    saved = open_run(str(run), Catalog(), [f"model.steps={STEPS}", f"model.resolution={EXPORTED}"])
    model = TextToImage.load(saved.config.model)
    group, found = adapter_group(model.network, targets=saved.config.adapter.targets), {}
    for stage in (2, 3):
        group.load_chain(saved.pairs(stage))
        found[stage] = picture(model, EXPORTED)
    return found


def exported(run: Path, kind: command.Format, folder: Path) -> Path:
    command.export(str(run), stage=3, format=kind, output=folder)
    return folder


@pytest.mark.parametrize("file", ["diffusers", "web interfaces"])
def test_lora(file: str, run: Path, stages: dict[int, Tensor], folder: Path, tmp_path: Path, figures: Figures) -> None:
    """Three pairs as one LoRA of rank 12, by `pipe.load_lora_weights`."""
    lora = exported(run, command.Format.DIFFUSERS, tmp_path / "lora")
    (web,) = lora.glob("*-webui.safetensors")
    pipe = plain(folder)
    pipe.load_lora_weights(str(lora if file == "diffusers" else web))
    made = theirs(pipe, EXPORTED)
    mistakes = {"2 of 3 pairs": apart(stages[2], made)}
    if file == "diffusers":
        pipe.unload_lora_weights()
        weights = lora / "pytorch_lora_weights.safetensors"
        state = {k: v * 1.01 if ".lora_B." in k else v for k, v in load_file(weights).items()}
        save_file(state, tmp_path / "other.safetensors")
        pipe.load_lora_weights(str(tmp_path / "other.safetensors"))
        mistakes["1 % too strong"] = apart(theirs(pipe, EXPORTED), stages[3])
    seen = apart(stages[3], made)
    figures.check(Figure("export", REFERENCE, f"picture, LoRA for {file}", seen, BOUND, mistakes))


def test_merged(run: Path, stages: dict[int, Tensor], tmp_path: Path, figures: Figures) -> None:
    merged = exported(run, command.Format.MERGED, tmp_path / "merged")
    made = theirs(plain(merged), EXPORTED)
    mistakes = {"2 of 3 pairs": apart(stages[2], made)}
    figures.check(Figure("export", REFERENCE, "picture, merged pipeline", apart(stages[3], made), BOUND, mistakes))
