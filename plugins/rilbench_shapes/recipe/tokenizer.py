"""A CLIP tokenizer whose merges know the words of the world; any other text falls back to letters and bytes."""

from __future__ import annotations

import json

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from rilbench_shapes import captions
from rilbench_shapes.world import STYLE_WORDS

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 24  # tokens


def build() -> CLIPTokenizer:
    """Train the byte-level BPE on every caption and every style word; deterministic."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    style = " ".join(word for pair in STYLE_WORDS.values() for word, _ in pair)
    bpe.train_from_iterator([*captions.every(), f"{style} {style} , ,"], trainer)
    model = json.loads(bpe.to_str())["model"]
    # the end token must have the highest number: CLIP pools the text at the largest token
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    letters = [t for t in tokens if len(t) == 1]
    tokens += [f"{t}</w>" for t in letters if f"{t}</w>" not in model["vocab"]]
    vocab = {token: i for i, token in enumerate([*tokens, START, END])}
    merges = [tuple(m) for m in model["merges"]]
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)
