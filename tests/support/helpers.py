"""A tiny random open_clip folder, so that tests of rewards and metrics need no trained weights."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench_shapes.recipe import tokenizer

SIZE, DIM = 32, 16
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)  # unlike any default
WEIGHTS = "open_clip_model.safetensors"


def clip_config(vocabulary: int) -> dict[str, Any]:
    """The `model_cfg` of the tiny model."""
    return {
        "embed_dim": DIM,
        "vision_cfg": {"image_size": SIZE, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": vocabulary, "width": 16, "heads": 2, "layers": 1},
    }


def save_clip(folder: Path, *, seed: int = 0) -> Path:
    """Write a folder as the recipe of `shapes` does: configuration, weights in half precision, tokenizer."""
    words = tokenizer.build()
    config = clip_config(len(words))
    config["text_cfg"]["hf_tokenizer_name"] = "local"
    folder.mkdir(parents=True)
    preprocess = {"mean": MEAN, "std": STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**clip_config(len(words)))
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    words.save_pretrained(folder)
    return folder


def save_pickscore(folder: Path) -> None:
    """A tiny random CLIPModel and its tokenizer in one folder, as transformers saves them."""
    from transformers import CLIPConfig, CLIPModel

    words = tokenizer.build()
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "max_position_embeddings": 24, "eos_token_id": words.eos_token_id}
    config = CLIPConfig(text_config=common | text, vision_config=common | {"image_size": 16, "patch_size": 8})
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)


def plain_clip(folder: Path) -> open_clip.CLIP:
    """The saved model, built and loaded without rilbench."""
    state = load_file(folder / WEIGHTS)
    model = open_clip.CLIP(**clip_config(len(tokenizer.build())))
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=True)
    return model.eval()


def normalised(images: Tensor) -> Tensor:
    """Images in [0, 1] as the tiny model takes them."""
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random images in [0.1, 0.9]."""
    generator = torch.Generator().manual_seed(seed)
    return (0.1 + 0.8 * torch.rand(*shape, generator=generator, dtype=torch.float64)).to(dtype)


def directional_derivatives(
    function: Callable[[Tensor], Tensor], at: Tensor, *, step: float = 1e-6, seed: int = 1
) -> tuple[float, float]:
    """The derivative of `function(at).sum()` along a random direction: by autograd, and by central differences."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(at.shape, generator=generator, dtype=at.dtype)
    variable = at.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(function(variable).sum(), variable)
    with torch.no_grad():
        change = function(at + step * direction).sum() - function(at - step * direction).sum()
    return (gradient * direction).sum().item(), (change / (2 * step)).item()


def jpeg_round_trip(x: Tensor, quality: int) -> Tensor:
    """8-bit images (B, 3, H, W) in [0, 1] after writing and reading a JPEG file with Pillow, 4:2:0."""
    return torch.stack([_through_file(image, quality) for image in (x * 255).round().to(torch.uint8)])


def _through_file(image: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0"
    )
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1) / 255
