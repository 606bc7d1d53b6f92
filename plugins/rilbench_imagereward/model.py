"""ImageReward's network, made of transformers' BLIP modules and filled from the original checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rilbench import ConfigError
from rilbench.encoders import brief
from rilbench.files.resources import resolve

SHIFT, SCALE = 0.16717362830052426, 1.0333394966054072  # mean and deviation over the training set
UNUSED = re.compile(r"blip\.(vision|text)_proj\.(weight|bias)|blip\.text_encoder\.embeddings\.position_ids")
RENAMED = (  # a name here, and what the checkpoint calls it
    (r"^mlp\.", "mlp.layers."),
    (r"^text\.", "blip.text_encoder."),
    (r"^vision\.embeddings\.class_embedding$", "blip.visual_encoder.cls_token"),
    (r"^vision\.embeddings\.position_embedding$", "blip.visual_encoder.pos_embed"),
    (r"^vision\.embeddings\.patch_embedding\.", "blip.visual_encoder.patch_embed.proj."),
    (r"^vision\.post_layernorm\.", "blip.visual_encoder.norm."),
    (r"^vision\.encoder\.layers\.", "blip.visual_encoder.blocks."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
)
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


def read_sizes(path: str | None) -> Sizes:
    """The published sizes, or those of a JSON file; raises ConfigError if missing, corrupt or with unknown keys."""
    from rilbench.contracts.settings import build  # its parser takes a while to import

    if path is None:
        return Sizes()
    file = Path(resolve(path))
    if not file.is_file():
        raise ConfigError(f"config: there is no file {file}; correct the path or omit `config`")
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"config: cannot read {file} ({brief(error)}); download it again") from None
    if not isinstance(values, dict):
        raise ConfigError(f"config: {file} does not contain an object of sizes")
    return build(Sizes, {key: value for key, value in values.items() if key not in WITHOUT_EFFECT}, "config")


class Network(nn.Module):
    """An image encoder, a text encoder with cross attention to it, and a head without activations.

    Source: Xu et al., ImageReward (2023); github.com/THUDM/ImageReward.
    """

    def __init__(self, sizes: Sizes) -> None:
        from transformers.models.blip.configuration_blip import BlipTextConfig, BlipVisionConfig
        from transformers.models.blip.modeling_blip import BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        super().__init__()
        text = asdict(sizes)
        vision = text.pop("vision")
        text["encoder_hidden_size"] = vision["hidden_size"]
        self.vision = BlipVisionModel(BlipVisionConfig(**vision, layer_norm_eps=1e-6))
        # is_decoder gives the layers their cross attention; the forward's own flag, off, keeps them bidirectional
        self.text = BlipTextModel(BlipTextConfig(**text, is_decoder=True), add_pooling_layer=False)
        self.mlp = nn.Sequential(
            nn.Linear(sizes.hidden_size, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def forward(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Normalised pixels (B, 3, S, S), tokens and mask (B, L) to scores (B,)."""
        image = self.vision(pixel_values=pixels).last_hidden_state  # (B, N + 1, D)
        text = self.text(input_ids=tokens, attention_mask=mask, encoder_hidden_states=image).last_hidden_state
        scores: Tensor = (self.mlp(text[:, 0]).squeeze(1) - SHIFT) / SCALE
        return scores


def original(key: str) -> str:
    """What the published checkpoint calls a tensor of `Network`."""
    for here, there in RENAMED:
        key = re.sub(here, there, key)
    return key


def filled(sizes: Sizes, state: Mapping[str, Tensor], source: str) -> Network:
    """A network in float32 with the tensors of a checkpoint; ConfigError unless all are there, known and fit."""
    with torch.device("meta"):  # random weights would take longer than the file
        network = Network(sizes)
    names = {key: original(key) for key in network.state_dict()}
    _compare({names[key]: value for key, value in network.state_dict().items()}, state, source)
    network.load_state_dict({key: state[name].float() for key, name in names.items()}, assign=True)
    network.text.embeddings.position_ids = torch.arange(sizes.max_position_embeddings)[None]  # in no state dict
    return network


def _compare(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str) -> None:
    faults = [f"{key} is missing" for key in wanted if key not in state]
    faults += [f"{key} is unexpected" for key in state if key not in wanted and not UNUSED.fullmatch(key)]
    for key, value in wanted.items():
        if key in state and state[key].shape != value.shape:
            faults.append(f"{key} has shape {tuple(state[key].shape)}, not {tuple(value.shape)}")
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ConfigError(
            f"weights: {source} does not fit: {faults[0]}{more}; use ImageReward.pt, or the `config` it was made for"
        )
