"""The sizes of ImageReward's network: the published ones, or those of a JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rilbench import ConfigError
from rilbench.encoders import brief
from rilbench.files.resources import resolve

LENGTH = 35  # tokens of a prompt, the rest is cut off
WITHOUT_EFFECT = {  # of med_config.json: for training, or the same for every model
    "architectures",
    "model_type",
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "initializer_range",
    "pad_token_id",
    "type_vocab_size",  # med has no token types
    "encoder_width",  # replaced by the width of the vision part
    "add_cross_attention",
}


@dataclass(frozen=True)
class VisionSizes:
    """A ViT-L/16 for 224 x 224 pixels."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 224
    patch_size: int = 16

    def __post_init__(self) -> None:
        _divisible("vision.hidden_size", self.hidden_size, "heads", self.num_attention_heads)
        _divisible("vision.image_size", self.image_size, "patches", self.patch_size)


@dataclass(frozen=True)
class Sizes:
    """The text part has med_config.json's names and values; `vision` is the image part."""

    vocab_size: int = 30524
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    vision: VisionSizes = field(default_factory=VisionSizes)

    def __post_init__(self) -> None:
        _divisible("hidden_size", self.hidden_size, "heads", self.num_attention_heads)
        if self.max_position_embeddings < LENGTH:
            raise ConfigError(f"max_position_embeddings: {self.max_position_embeddings} is less than {LENGTH} tokens")
        if self.hidden_act != "gelu":
            raise ConfigError(f"hidden_act: {self.hidden_act!r} is not supported; only 'gelu' is")


def _divisible(name: str, size: int, parts: str, number: int) -> None:
    if number < 1 or size < 1 or size % number:
        raise ConfigError(f"{name}: {size} is not a multiple of {number} ({parts})")


def read_sizes(path: str | None) -> Sizes:
    """The published sizes, or those of a JSON file; ConfigError when it is missing, corrupt or has unknown keys."""
    from rilbench.contracts.settings import build  # its parser takes a while to import

    if path is None:
        return Sizes()
    file = Path(resolve(path))
    if not file.is_file():
        raise ConfigError(f"config: no file at {file}; correct the path or leave `config` out")
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"config: cannot read {file} ({brief(error)}); fetch or make it again") from None
    if not isinstance(values, dict):
        raise ConfigError(f"config: {file} does not hold an object of sizes")
    return build(Sizes, {key: value for key, value in values.items() if key not in WITHOUT_EFFECT}, "config")
