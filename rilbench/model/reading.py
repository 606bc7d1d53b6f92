"""What a model reads of a prompt: the tokens that its text encoders are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rilbench.model.libraries import silent


class TextInput(NamedTuple):
    """A text encoder's tokenizer, and how many tokens of a prompt the encoder is given."""

    tokenizer: Any
    limit: int


class Reading(NamedTuple):
    """The tokens of each encoder, and whether none of them is given the whole prompt."""

    tokens: tuple[tuple[int, ...], ...]
    cut: bool


def readings(inputs: Sequence[TextInput], prompts: Sequence[str]) -> list[Reading]:
    """Of each prompt; two prompts of which a model reads the same have the same tokens."""
    with silent():  # tokenizers warn of long texts
        texts = [_tokens(one, prompts) for one in inputs]
    return [
        Reading(tuple(tokens for tokens, _ in of_prompt), cut=all(cut for _, cut in of_prompt))
        for of_prompt in zip(*texts, strict=True)
    ]


def groups(found: Sequence[Reading]) -> list[int]:
    """A number for each prompt, the same for those of which the model reads the same."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(reading.tokens, len(numbers)) for reading in found]


def remarks(found: Sequence[Reading], prompts: Sequence[str], where: str) -> list[str]:
    """What the user should know of the prompts of a setting or option: how many are cut, how many repeat others."""
    many, cut = len(prompts), sum(reading.cut for reading in found)
    repeated, same = many - len(set(prompts)), len(set(prompts)) - len({reading.tokens for reading in found})
    told = []
    if cut:
        told.append(f"{cut} of {many} prompts are longer than the model reads, and are cut")
    if repeated:
        told.append(f"{repeated} of {many} prompts repeat an earlier one")
    if same:
        told.append(f"{same} of {many} prompts differ from others only in what the model does not read")
    return [f"{where}: {text}" for text in told]


def _tokens(one: TextInput, prompts: Sequence[str]) -> list[tuple[tuple[int, ...], bool]]:
    whole = one.tokenizer(list(prompts)).input_ids
    read = one.tokenizer(list(prompts), truncation=True, max_length=one.limit).input_ids
    return [(tuple(tokens), len(all_tokens) > one.limit) for tokens, all_tokens in zip(read, whole, strict=True)]
