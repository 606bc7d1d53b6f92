"""Prompts become the tokens CLIP was trained on: tokenizers as published, against open_clip's own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines
import torch
from diffusers import StableDiffusionPipeline
from open_clip.tokenizer import bytes_to_unicode, default_bpe, tokenize
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from rilbench.model.backbones.stable_diffusion import StableDiffusion
from rilbench.model.backbones.stable_diffusion_xl import StableDiffusionXL
from rilbench.model.config import ModelConfig
from rilbench.testing import tiny

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS, CONTEXT = 49408, 77
PROMPTS = [
    "",
    "a photo of a cat",
    "An astronaut riding a HORSE on mars, 4k, highly-detailed; it's 1980's art!!",
    "une école à Zürich, smørrebrød",
    "日本の富士山 🌋 naïve",
    "  two   spaces\tand a tab  ",
    "a very long prompt about nothing in particular " * 12,  # cut to 77 tokens
    "word " * 75,  # just fits
    "word " * 76,  # just does not
]


def save_tokenizer(folder: Path, padding: str) -> Path:
    """The files of `tokenizer` in Stable Diffusion 1.5; `tokenizer_2` of SDXL pads with `!`."""
    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[1 : WORDS - 2 * 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    words = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *("".join(pair.split()) for pair in merges),
        START,
        END,
    ]
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    settings = special | {
        "model_max_length": CONTEXT,
        "tokenizer_class": "CLIPTokenizer",
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
    }
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Padded with the end token, and with `!`."""
    place = tmp_path_factory.mktemp("tokenizers")
    folders = (save_tokenizer(place / "tokenizer", END), save_tokenizer(place / "tokenizer_2", "!"))
    one, two = (CLIPTokenizer.from_pretrained(folder) for folder in folders)
    assert len(one) == len(two) == WORDS
    return one, two


def text_encoder(kind: Any) -> Any:
    width = tiny_pipelines.WIDTH
    return kind(
        CLIPTextConfig(
            vocab_size=WORDS,
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
        )
    )


def tokens_of(backbone: Any, encoder: str) -> list[Tensor]:
    """What a text encoder is given for each of the prompts, (77,)."""
    given: list[Tensor] = []
    handle = getattr(backbone.pipeline, encoder).register_forward_pre_hook(lambda _, inputs: given.append(inputs[0][0]))
    with torch.no_grad():
        for prompt in PROMPTS:
            backbone.encode(prompt)
    handle.remove()
    return given


def up_to_the_end(tokens: Tensor) -> list[int]:
    """With the end token, which CLIP reads the text's features from; what follows must be padding only."""
    values: list[int] = tokens.tolist()
    return values[: values.index(WORDS - 1) + 1]


def check(found: list[Tensor], padding: int) -> None:
    """Where `!` pads, it is a special token of its own in the text, too, in diffusers as here."""
    for prompt, ours, theirs in zip(PROMPTS, found, tokenize(PROMPTS, CONTEXT), strict=True):
        text = up_to_the_end(theirs)
        if padding == 0 and prompt.endswith("art!!"):
            text[-2:] = [0, 0, WORDS - 1]  # not the one token of two marks
        assert ours.tolist() == text + [padding] * (CONTEXT - len(text)), prompt


@pytest.mark.slow
def test_stable_diffusion(tokenizers: tuple[Any, Any]) -> None:
    parts = tiny.parts() | {"tokenizer": tokenizers[0], "text_encoder": text_encoder(CLIPTextModel)}
    pipeline = StableDiffusionPipeline(**parts, **tiny_pipelines.UNSAFE)
    check(tokens_of(StableDiffusion(pipeline, ModelConfig(), "cpu"), "text_encoder"), WORDS - 1)


@pytest.mark.slow
def test_stable_diffusion_xl(tokenizers: tuple[Any, Any]) -> None:
    pipeline = tiny_pipelines.stable_diffusion_xl()
    encoders = text_encoder(CLIPTextModel), text_encoder(CLIPTextModelWithProjection)
    pipeline.register_modules(
        tokenizer=tokenizers[0], tokenizer_2=tokenizers[1], text_encoder=encoders[0], text_encoder_2=encoders[1]
    )
    backbone = StableDiffusionXL(pipeline, ModelConfig(), "cpu")
    check(tokens_of(backbone, "text_encoder"), WORDS - 1)
    check(tokens_of(backbone, "text_encoder_2"), 0)


def test_the_texts_that_are_cut_are_the_long_ones() -> None:
    lengths = [len(up_to_the_end(tokens)) for tokens in tokenize(PROMPTS, CONTEXT)]
    assert lengths[0] == 2
    assert [length == CONTEXT for length in lengths] == [i >= 6 for i in range(len(PROMPTS))]
