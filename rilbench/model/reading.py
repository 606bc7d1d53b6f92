"""The parts of a prompt that a model reads: the tokens for its text encoders, and the captions it was trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.prompt import Prompt
from rilbench.model.libraries import silent

CAPTIONS = "captions.json"  # in a pipeline's folder


class TextInput(NamedTuple):
    """A text encoder's tokenizer and its maximum number of tokens."""

    tokenizer: Any
    limit: int


class Reading(NamedTuple):
    """The tokens of each encoder, and whether no encoder receives the whole prompt."""

    tokens: tuple[tuple[int, ...], ...]
    cut: bool


def readings(inputs: Sequence[TextInput], prompts: Sequence[str]) -> list[Reading]:
    """The reading of each prompt; two prompts that the model cannot distinguish have the same tokens."""
    if not prompts:  # which tokenizers cannot read
        return []
    with silent():  # tokenizers warn of long texts
        texts = [_tokens(one, prompts) for one in inputs]
    return [
        Reading(tuple(tokens for tokens, _ in of_prompt), cut=all(cut for _, cut in of_prompt))
        for of_prompt in zip(*texts, strict=True)
    ]


def groups(readings: Sequence[Reading]) -> list[int]:
    """A number for each prompt, the same for prompts that the model cannot distinguish."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(reading.tokens, len(numbers)) for reading in readings]


def remarks(readings: Sequence[Reading], prompts: Sequence[Prompt], where: str) -> list[str]:
    """Warnings about the prompts of a setting or option: how many are cut, how many repeat others."""
    many, cut = len(prompts), sum(reading.cut for reading in readings)
    repeated, texts = many - len(set(prompts)), {prompt.text for prompt in prompts}
    same = len(texts) - len({reading.tokens for reading in readings})
    lines = []
    if cut:
        lines.append(f"{cut} of {many} prompts are longer than the model's limit and are cut")
    if repeated:
        lines.append(f"{repeated} of {many} prompts repeat an earlier one")
    if same:
        lines.append(f"{same} of {many} prompts differ from others only in text that the model does not read")
    return [f"{where}: {text}" for text in lines]


def cut_remarks(negatives: Sequence[Reading], where: str) -> list[str]:
    """A warning about negative prompts that are cut."""
    cut = sum(reading.cut for reading in negatives)
    text = f"{cut} of {len(negatives)} negative prompts are longer than the model's limit and are cut"
    return [f"{where}: {text}"] if cut else []


def unused_remarks(prompts: Sequence[Prompt], why: str, where: str) -> list[str]:
    """A warning about negative prompts of a model that has no use for them."""
    given = sum(bool(prompt.negative) for prompt in prompts)
    return [f"{where}: {given} of {len(prompts)} prompts have a negative prompt without effect: {why}"] if given else []


def _tokens(one: TextInput, prompts: Sequence[str]) -> list[tuple[tuple[int, ...], bool]]:
    whole = one.tokenizer(list(prompts)).input_ids
    read = one.tokenizer(list(prompts), truncation=True, max_length=one.limit).input_ids
    return [(tuple(tokens), len(all_tokens) > one.limit) for tokens, all_tokens in zip(read, whole, strict=True)]


@dataclass(frozen=True)
class Captions:
    """Those of a model of a closed world: what a prompt must contain to be a caption, and a caption.

    A file in the pipeline's folder describes them: `template`, a text with names in braces, `words`, the choices of
    each name, and an `example`.
    """

    pattern: re.Pattern[str]
    example: str

    @classmethod
    def of(cls, folder: Path) -> Captions | None:
        """Those of the pipeline in a folder; None for one that takes any text. ConfigError for a damaged file."""
        file = folder / CAPTIONS
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            parts = re.split(r"\{(\w+)\}", values["template"])
            words = [f"({'|'.join(map(re.escape, values['words'][name]))})" for name in parts[1::2]]
            texts = [re.escape(text) for text in parts[::2]]
            joined = "".join(text + word for text, word in zip(texts, [*words, ""], strict=True))
            return cls(re.compile(joined, re.IGNORECASE), str(values["example"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"cannot read {file}: {error}; delete it or make it again") from None

    def remarks(self, prompts: Sequence[str], where: str) -> list[str]:
        """A warning about prompts that are not like the captions."""
        other = [prompt for prompt in prompts if not self.pattern.search(prompt)]
        if not other:
            return []
        return [
            f"{where}: {len(other)} of {len(prompts)} prompts are not like the captions that the model was trained on "
            f"({other[0][:80]!r}); its images of them are not meaningful. A caption is {self.example!r}"
        ]
