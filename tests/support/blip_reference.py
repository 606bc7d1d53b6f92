"""ImageReward's original architecture in plain torch, on the original checkpoint's key names."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "large", "small", "red", "blue", "circle"]
WORDS += ["square", ",", "##s"]
VISION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TINY: dict[str, Any] = {
    "vocab_size": len(WORDS) + 2,
    "hidden_size": 16,
    "intermediate_size": 28,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "vision": VISION,
}
PUBLISHED: dict[str, Any] = {
    "vocab_size": 30524,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "vision": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 16,
    },
}
HEAD = {"0": 1024, "2": 128, "4": 64, "6": 16, "7": 1}


def save_tokenizer(folder: Path, words: list[str] | None = None) -> Path:
    """A tokenizer folder as that of bert-base-uncased, of a few words."""
    from transformers import BertTokenizer

    BertTokenizer(vocab={word: i for i, word in enumerate(words or WORDS)}).save_pretrained(folder)
    return folder


def save_config(file: Path, sizes: dict[str, Any]) -> Path:
    """The sizes among the entries that the published med_config.json also has."""
    rest = {"architectures": ["BertModel"], "model_type": "bert", "hidden_dropout_prob": 0.1, "encoder_width": 768}
    file.write_text(json.dumps(sizes | rest | {"add_cross_attention": True}))
    return file


def shapes(sizes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of the original checkpoint but position_ids."""
    vision, width, inner = sizes["vision"], sizes["hidden_size"], sizes["intermediate_size"]
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, old: int, new: int) -> None:
        found.update({f"{name}.weight": (new, old), f"{name}.bias": (new,)})

    def norm(name: str, size: int) -> None:
        found.update({f"{name}.weight": (size,), f"{name}.bias": (size,)})

    image, side, patch = vision["hidden_size"], vision["image_size"], vision["patch_size"]
    found["blip.visual_encoder.cls_token"] = (1, 1, image)
    found["blip.visual_encoder.pos_embed"] = (1, (side // patch) ** 2 + 1, image)
    found["blip.visual_encoder.patch_embed.proj.weight"] = (image, 3, patch, patch)
    found["blip.visual_encoder.patch_embed.proj.bias"] = (image,)
    for i in range(vision["num_hidden_layers"]):
        block = f"blip.visual_encoder.blocks.{i}"
        norm(f"{block}.norm1", image)
        linear(f"{block}.attn.qkv", image, 3 * image)
        linear(f"{block}.attn.proj", image, image)
        norm(f"{block}.norm2", image)
        linear(f"{block}.mlp.fc1", image, vision["intermediate_size"])
        linear(f"{block}.mlp.fc2", vision["intermediate_size"], image)
    norm("blip.visual_encoder.norm", image)
    found["blip.text_encoder.embeddings.word_embeddings.weight"] = (sizes["vocab_size"], width)
    found["blip.text_encoder.embeddings.position_embeddings.weight"] = (sizes["max_position_embeddings"], width)
    norm("blip.text_encoder.embeddings.LayerNorm", width)
    for i in range(sizes["num_hidden_layers"]):
        layer = f"blip.text_encoder.encoder.layer.{i}"
        for attention, other in (("attention", width), ("crossattention", image)):
            linear(f"{layer}.{attention}.self.query", width, width)
            linear(f"{layer}.{attention}.self.key", other, width)
            linear(f"{layer}.{attention}.self.value", other, width)
            linear(f"{layer}.{attention}.output.dense", width, width)
            norm(f"{layer}.{attention}.output.LayerNorm", width)
        linear(f"{layer}.intermediate.dense", width, inner)
        linear(f"{layer}.output.dense", inner, width)
        norm(f"{layer}.output.LayerNorm", width)
    linear("blip.vision_proj", image, 256)
    linear("blip.text_proj", width, 256)
    size = width
    for key, new in HEAD.items():
        linear(f"mlp.layers.{key}", size, new)
        size = new
    return found


def checkpoint(sizes: dict[str, Any], *, seed: int = 0) -> dict[str, Tensor]:
    """Random weights, large enough that every one of them moves the score."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: _random(name, shape, generator) for name, shape in shapes(sizes).items()}
    state["blip.text_encoder.embeddings.position_ids"] = torch.arange(sizes["max_position_embeddings"])[None]
    return state


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return values * 0.1 + ("orm" in name and name.endswith("weight"))
    inputs = 4 if "embeddings" in name else math.prod(shape[1:])
    gain = 0.4 if "crossattention.output" in name else 1.5  # twelve of them would drown the words
    return values * gain / inputs**0.5


def score(state: dict[str, Tensor], sizes: dict[str, Any], pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Scores (B,) of normalised pixels (B, 3, S, S), token numbers and mask (B, L)."""
    x = _text(state, sizes, tokens, mask, _image(state, sizes["vision"], pixels))[:, 0]
    for key in HEAD:
        x = _linear(state, f"mlp.layers.{key}", x)
    return (x[:, 0] - 0.16717362830052426) / 1.0333394966054072


def _image(state: dict[str, Tensor], sizes: dict[str, int], pixels: Tensor) -> Tensor:
    root = "blip.visual_encoder"
    weight, bias = (state[f"{root}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
    patches = F.conv2d(pixels, weight, bias, stride=sizes["patch_size"]).flatten(2).mT
    x = torch.cat([state[f"{root}.cls_token"].expand(len(pixels), -1, -1), patches], 1) + state[f"{root}.pos_embed"]
    for i in range(sizes["num_hidden_layers"]):
        block = f"{root}.blocks.{i}"
        q, k, v = _linear(state, f"{block}.attn.qkv", _norm(state, f"{block}.norm1", x, 1e-6)).chunk(3, -1)
        x = x + _linear(state, f"{block}.attn.proj", _attend(q, k, v, sizes["num_attention_heads"], None))
        inner = F.gelu(_linear(state, f"{block}.mlp.fc1", _norm(state, f"{block}.norm2", x, 1e-6)))
        x = x + _linear(state, f"{block}.mlp.fc2", inner)
    return _norm(state, f"{root}.norm", x, 1e-6)


def _text(state: dict[str, Tensor], sizes: dict[str, Any], tokens: Tensor, mask: Tensor, image: Tensor) -> Tensor:
    root, heads = "blip.text_encoder", sizes["num_attention_heads"]
    words, places = (state[f"{root}.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position"))
    x = _norm(state, f"{root}.embeddings.LayerNorm", words[tokens] + places[: tokens.shape[1]], 1e-12)
    for i in range(sizes["num_hidden_layers"]):
        layer = f"{root}.encoder.layer.{i}"
        for kind, other, seen in (("attention", None, mask.bool()), ("crossattention", image, None)):
            source = x if other is None else other
            q = _linear(state, f"{layer}.{kind}.self.query", x)
            k, v = (_linear(state, f"{layer}.{kind}.self.{part}", source) for part in ("key", "value"))
            out = _linear(state, f"{layer}.{kind}.output.dense", _attend(q, k, v, heads, seen))
            x = _norm(state, f"{layer}.{kind}.output.LayerNorm", out + x, 1e-12)
        inner = F.gelu(_linear(state, f"{layer}.intermediate.dense", x))
        x = _norm(state, f"{layer}.output.LayerNorm", _linear(state, f"{layer}.output.dense", inner) + x, 1e-12)
    return x


def _attend(q: Tensor, k: Tensor, v: Tensor, heads: int, seen: Tensor | None) -> Tensor:
    """Multi-head attention (B, L, D); seen (B, L) says which keys count."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    weights = q @ k.mT / q.shape[-1] ** 0.5
    if seen is not None:
        weights = weights.masked_fill(~seen[:, None, None], -math.inf)
    return (weights.softmax(-1) @ v).transpose(1, 2).flatten(2)


def _linear(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _norm(state: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)
