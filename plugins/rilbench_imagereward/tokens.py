"""BLIP's tokenizer: that of bert-base-uncased with two more tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rilbench import ConfigError
from rilbench.encoders import brief
from rilbench.files.hub import is_hub_id
from rilbench.files.published import hub_folder
from rilbench.files.resources import resolve
from rilbench_imagereward.sizes import LENGTH

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")  # of a Hub id
REMEDY = "download the tokenizer of bert-base-uncased and give the path of its folder"


class Tokens:
    """Prompts to token numbers and attention mask, both (B, 35); computed once per prompt and then remembered.

    name: a folder, or a Hub id whose files are fetched. size: how many tokens the model knows; ConfigError when the
    tokenizer has not as many, or cannot be loaded.
    """

    def __init__(self, name: str, size: int, device: str) -> None:
        from transformers import BertTokenizer

        path = str(hub_folder(name, FILES)) if is_hub_id(name) else resolve(name)
        if not Path(path).is_dir():
            raise ConfigError(f"tokenizer: no folder at {path}; download it or correct the path")
        try:
            self._tokenizer = BertTokenizer.from_pretrained(path)
        except Exception as error:  # transformers passes on whatever json, tokenizers or the Hub raise
            raise ConfigError(f"tokenizer: cannot load {path} ({brief(error)}); {REMEDY}") from None
        self._tokenizer.add_special_tokens({"bos_token": "[DEC]"})
        self._tokenizer.add_tokens(["[ENC]"], special_tokens=True)
        if len(self._tokenizer) != size:  # transformers makes an empty one of a folder without tokenizer
            found = f"has {len(self._tokenizer)} tokens with [DEC] and [ENC], the model {size}"
            raise ConfigError(f"tokenizer: {name} is another: {found}; {REMEDY}")
        self._device = device
        self._known: dict[str, Tensor] = {}

    def __call__(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        for prompt in prompts:
            if prompt not in self._known:
                self._known[prompt] = self._encode(prompt)
        numbers, mask = torch.stack([self._known[prompt] for prompt in prompts], dim=1)
        return numbers, mask

    def _encode(self, prompt: str) -> Tensor:
        """(2, 35): always padded to the same length, so that no score depends on the other prompts of a batch."""
        found = self._tokenizer(prompt, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
        return torch.cat([found["input_ids"], found["attention_mask"]]).to(self._device)
