"""The small open_clip model, trained on images and captions that often name the style."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from rilbench_shapes import captions
from rilbench_shapes.recipe import tokenizer as tokens
from rilbench_shapes.recipe.fit import fit, generator_for
from rilbench_shapes.renderer import render
from rilbench_shapes.world import RESOLUTION, Scenes, sample_content, sample_scenes, sample_style

BATCH = 192
STYLE_WORDS = 0.5
GROUP = 12  # scenes of one content in the second phase
GROUP_STYLE_WORDS = 0.9
CONFIG: dict[str, dict[str, Any]] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": RESOLUTION,
            "layers": 4,
            "width": 160,
            "head_width": 32,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": tokens.CONTEXT,
            "vocab_size": len(tokens.build()),
            "width": 128,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": "local",  # the tokenizer files are next to this configuration
        },
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}


def save(model: Any, folder: Path) -> None:
    """Write a folder that `open_clip.create_model("local-dir:FOLDER")` loads: config, weights in half, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG, indent=2))
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    TOKENIZER.save_pretrained(folder)


def tokenize(texts: list[str]) -> Tensor:
    """Token numbers (B, 24)."""
    ids: Tensor = TOKENIZER(
        texts, padding="max_length", truncation=True, max_length=tokens.CONTEXT, return_tensors="pt"
    ).input_ids
    return ids


TOKENIZER = tokens.build()


def normalised(images: Tensor) -> Tensor:
    """Images in [0, 1] as the model takes them."""
    return 2 * images - 1


def train(folder: Path, *, steps: int = 2000, style_steps: int = 1500, seed: int = 0) -> Any:
    """Train in two phases and save under `folder/clip`.

    Among random scenes the content alone identifies captions, so the features lose style, which the rewards need.
    So the second phase shows groups of scenes that differ in style only.
    """
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CONFIG["model_cfg"])

    def random_scenes(generator: torch.Generator) -> Tensor:
        return contrastive(model, sample_scenes(BATCH, generator), generator, style_words=STYLE_WORDS)

    def style_groups(generator: torch.Generator) -> Tensor:
        content = sample_content(BATCH // GROUP, generator)
        repeated = {name: column.repeat_interleave(GROUP) for name, column in content.items()}
        scenes = Scenes(**repeated, **sample_style(BATCH, generator))
        return contrastive(model, scenes, generator, style_words=GROUP_STYLE_WORDS)

    fit("clip", model, random_scenes, steps=steps, lr=1e-3, seed=seed, warmup=200)
    model.requires_grad_(True)
    fit("clip-style", model, style_groups, steps=style_steps, lr=5e-4, seed=seed)
    save(model, folder / "clip")
    return model


def contrastive(model: Any, scenes: Scenes, generator: torch.Generator, *, style_words: float) -> Tensor:
    """CLIP's symmetric cross-entropy over a batch of scenes and their captions."""
    texts = tokenize(captions.write(scenes, generator, style_words=style_words))
    image, text, scale = model(normalised(render(scenes, generator)), texts)
    logits = scale.clamp(max=100) * image @ text.T
    target = torch.arange(len(scenes))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def retrieval(model: Any, *, rounds: int = 20, seed: int = 1) -> float:
    """Share of held-out images whose own caption wins among 100 distinct captions without style words."""
    generator, hits = generator_for(seed, "clip retrieval"), 0.0
    for _ in range(rounds):
        scenes = sample_scenes(400, generator)
        texts = captions.write(scenes)
        first = [i for i, text in enumerate(texts) if text not in texts[:i]][:100]
        images = normalised(render(scenes[torch.tensor(first)], generator))
        with torch.no_grad():
            image = model.encode_image(images, normalize=True)
            text = model.encode_text(tokenize([texts[i] for i in first]), normalize=True)
        hits += ((image @ text.T).argmax(1) == torch.arange(100)).float().mean().item()
    return hits / rounds
