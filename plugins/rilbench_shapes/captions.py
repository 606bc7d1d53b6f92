"""Scenes to captions and back: `a large red circle at the left on a blue background, vivid sharp`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import torch

from rilbench import ConfigError
from rilbench_shapes.world import COLOURS, CONTENT, PLACES, SHAPES, SIZES, STYLE_WORDS, Scenes

TEMPLATE = "a {size} {colour} {shape} {place} on a {background} background"
EXAMPLE = "a large red circle at the left on a blue background"
_PATTERN = re.compile(
    f"a (?P<size>{'|'.join(SIZES)}) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)}) "
    f"(?P<place>{'|'.join(PLACES)}) on a (?P<background>{'|'.join(COLOURS)}) background"
)


def write(scenes: Scenes, generator: torch.Generator | None = None, *, style_words: float = 0.0) -> list[str]:
    """One caption per scene; each style that has a word for its value is named with probability `style_words`."""
    columns = {name: getattr(scenes, name).tolist() for name in (*CONTENT, *STYLE_WORDS)}
    named = torch.rand(len(scenes), len(STYLE_WORDS), generator=generator) < style_words
    captions = []
    for i in range(len(scenes)):
        content = {name: words[columns[name][i]] for name, words in CONTENT.items()}
        words = [
            style_word(name, columns[name][i]) for name, on in zip(STYLE_WORDS, named[i].tolist(), strict=True) if on
        ]
        style = " ".join(word for word in words if word)
        captions.append(TEMPLATE.format(**content) + (f", {style}" if style else ""))
    return captions


def style_word(name: str, value: float) -> str:
    """The word for a style's value, or an empty string in the unnamed middle of its range."""
    (low_word, low), (high_word, high) = STYLE_WORDS[name]
    return low_word if value < low else high_word if value > high else ""


def description() -> dict[str, object]:
    """The contents of `captions.json`, next to the weights."""
    return {"template": TEMPLATE, "words": {name: list(words) for name, words in CONTENT.items()}, "example": EXAMPLE}


def parse(caption: str) -> dict[str, int] | None:
    """The content a caption fixes, as indices into `CONTENT`; None if it is not a caption of this world."""
    match = _PATTERN.search(caption.lower())
    if match is None:
        return None
    return {name: words.index(match[name]) for name, words in CONTENT.items()}


def contents(prompts: Sequence[str], who: str) -> dict[str, torch.Tensor]:
    """The content (B,) that captions fix, as indices into `CONTENT`; ConfigError naming `who` for other prompts."""
    parsed = [parse(prompt) for prompt in prompts]
    strangers = [prompt for prompt, content in zip(prompts, parsed, strict=True) if content is None]
    if strangers:
        raise ConfigError(
            f"{who}: {strangers[0]!r} is not a caption of the `shapes` world; leave {who.split()[-1]} out of "
            "evaluate.metrics for other prompts"
        )
    return {name: torch.tensor([content[name] for content in parsed if content is not None]) for name in CONTENT}


def every() -> list[str]:
    """All captions without style words, in a fixed order."""
    every_content = itertools.product(SIZES, COLOURS, SHAPES, PLACES, COLOURS)
    return [
        TEMPLATE.format(size=size, colour=colour, shape=shape, place=place, background=background)
        for size, colour, shape, place, background in every_content
        if colour != background
    ]
