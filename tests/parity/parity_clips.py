"""Random CLIPs at full size: open_clip's checkpoints, and the same weights under transformers' names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

LAYER = {  # transformers' names of a block's parts
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
REST = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "logit_scale": "logit_scale",
}
SHARPER = 2.0  # attention of random weights is flat, and the features nearly the same for all images


def checkpoint(architecture: str, cache: Path) -> Path:
    """A file as HPS_v2_compressed.pt is one: random weights in half precision, under `state_dict`."""
    from fullsize import clip

    folder, file = cache / architecture, cache / f"{architecture}.pt"
    if not file.exists():
        if not folder.exists():
            torch.manual_seed(0)
            clip(architecture, folder)
        state = {name: value.half() for name, value in load_file(folder / "open_clip_model.safetensors").items()}
        for name in state:
            if name.endswith("in_proj_weight"):
                state[name] *= SHARPER
        torch.save({"state_dict": state}, file)
    return file


def transformers_model(architecture: str, file: Path) -> Any:
    """The checkpoint as transformers' CLIPModel, in float32."""
    import open_clip
    from transformers import CLIPConfig, CLIPModel

    sizes = open_clip.get_model_config(architecture)
    act = {"hidden_act": "quick_gelu" if sizes.get("quick_gelu") else "gelu"}
    image, text = sizes["vision_cfg"], sizes["text_cfg"]
    vision = _tower(image["width"], image["layers"], image["width"] // image.get("head_width", 64)) | act
    vision |= {"image_size": image["image_size"], "patch_size": image["patch_size"]}
    words = _tower(text["width"], text["layers"], text["heads"]) | act
    words |= {"vocab_size": text["vocab_size"], "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    config = CLIPConfig(text_config=words, vision_config=vision, projection_dim=sizes["embed_dim"])
    with torch.device("meta"):
        model = CLIPModel(config)
    state = {k: v.float() for k, v in renamed(torch.load(file, weights_only=True)["state_dict"]).items()}
    model.load_state_dict(state, assign=True)
    for part in (model.vision_model.embeddings, model.text_model.embeddings):
        part.position_ids = torch.arange(part.position_embedding.num_embeddings)[None]  # in no checkpoint
    return model.eval().requires_grad_(False)


def _tower(width: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's tensors under transformers' names."""
    found = {
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
    }
    for name, value in state.items():
        if "resblocks" in name:
            found |= _block(name, value)
        elif name not in ("visual.proj", "text_projection"):
            stem = name if name in REST else name.rpartition(".")[0]
            found[REST[stem] + name.removeprefix(stem)] = value
    return found


def _block(name: str, value: Tensor) -> dict[str, Tensor]:
    number, _, part = name.split("resblocks.")[1].partition(".")
    root = f"{'vision' if name.startswith('visual') else 'text'}_model.encoder.layers.{number}"
    if part.startswith("attn.in_proj_"):
        kind = part.removeprefix("attn.in_proj_")
        thirds = zip("qkv", value.chunk(3), strict=True)
        return {f"{root}.self_attn.{letter}_proj.{kind}": third.contiguous() for letter, third in thirds}
    stem, _, kind = part.rpartition(".")
    return {f"{root}.{LAYER[stem]}.{kind}": value}


def tokenizer() -> Any:
    """transformers' CLIPTokenizer with the vocabulary that open_clip ships."""
    import open_clip
    from transformers import CLIPTokenizer

    theirs = open_clip.tokenizer.SimpleTokenizer()
    vocabulary = dict(theirs.encoder)
    for name in ("start", "end"):
        vocabulary[f"<|{name}oftext|>"] = vocabulary.pop(f"<{name}_of_text>")
    merges = sorted(theirs.bpe_ranks, key=lambda pair: theirs.bpe_ranks[pair])
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


@contextmanager
def other_activation(model: nn.Module) -> Iterator[None]:
    """Within: an open_clip model has GELU where it has QuickGELU and the other way round."""
    import open_clip.transformer

    blocks = [part for part in model.modules() if isinstance(part, open_clip.transformer.ResidualAttentionBlock)]
    before = blocks[0].mlp.gelu
    other = nn.GELU() if isinstance(before, open_clip.transformer.QuickGELU) else open_clip.transformer.QuickGELU()
    for block in blocks:
        block.mlp.gelu = other
    try:
        yield
    finally:
        for block in blocks:
            block.mlp.gelu = before
