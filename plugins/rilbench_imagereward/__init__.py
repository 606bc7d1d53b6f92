"""`imagereward`: which image people prefer for a prompt, by ImageReward v1.0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rilbench import NeededFile, Reward, setting
from rilbench.contracts.files import hub_files, named
from rilbench.encoders import (
    check_sha256,
    check_vocabulary,
    clip_pixels,
    from_pretrained,
    local_folder,
    read_tensors,
)
from rilbench.files.hub import is_hub_id
from rilbench_imagereward.model import Network, Sizes, filled, read_sizes

__all__ = ["ImageReward", "ImageRewardSettings"]

PUBLISHED = (
    "hub:zai-org/ImageReward/ImageReward.pt@5736be03b2652728fb87788c9797b0570450ab72"
    "#sha256=d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6&size=1786880927&licence=Apache-2.0"
)
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")  # of a Hub id
LENGTH = 35  # tokens of a prompt; longer prompts are cut off


@dataclass(frozen=True)
class ImageRewardSettings:
    """The published network, or one with the same structure from other files."""

    weights: str = setting(
        PUBLISHED,
        "ImageReward.pt of the Hub repository zai-org/ImageReward, or its tensors as `.safetensors`; path or reference",
        path=True,
    )
    config: str | None = setting(None, "med_config.json of that repository; null: the published sizes", path=True)
    tokenizer: str = setting(
        "google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
        "a folder or Hub id with the vocabulary of bert-base-uncased; [DEC] and [ENC] are added",
        path=True,
    )
    sha256: str | None = setting(None, "expected hexadecimal hash of the weight file", longest=64)


class ImageReward(Reward):
    """A score of mean 0 and deviation 1 over its training set, unbounded; mostly -2 to 2.

    Source: Xu et al., ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation (2023).
    """

    Settings = ImageRewardSettings
    settings: ImageRewardSettings

    @classmethod
    def files(cls, settings: ImageRewardSettings) -> Sequence[NeededFile]:
        words = hub_files(settings.tokenizer, TOKENIZER, "Apache-2.0") if is_hub_id(settings.tokenizer) else []
        return [*named(settings), *words]

    def __init__(self, settings: ImageRewardSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        sizes = read_sizes(settings.config)
        self.network = _load(settings, sizes).to(device).eval().requires_grad_(False)
        self.image_size = sizes.vision.image_size
        self._tokenizer = _load_tokenizer(settings.tokenizer, sizes.vocab_size)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        pixels = clip_pixels(images, self.image_size, next(self.network.parameters()))
        scores: Tensor = self.network(pixels, *self._tokens(prompts))
        return scores

    def _tokens(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers and attention mask, both (B, 35): always padded to the same length, so that scores do not
        depend on the other prompts of a batch."""
        options = {"padding": "max_length", "truncation": True, "max_length": LENGTH, "return_tensors": "pt"}
        found = self._tokenizer(list(prompts), **options).to(self.device)
        return found["input_ids"], found["attention_mask"]


def _load(settings: ImageRewardSettings, sizes: Sizes) -> Network:
    if settings.sha256 is not None:
        check_sha256(settings.weights, settings.sha256)
    return filled(sizes, read_tensors(settings.weights, "weights"), settings.weights)


def _load_tokenizer(name: str, size: int) -> Any:
    """BLIP's tokenizer: that of bert-base-uncased with two more tokens."""
    from transformers import BertTokenizer

    tokenizer = from_pretrained(BertTokenizer, local_folder(name, "tokenizer", TOKENIZER), "tokenizer")
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    check_vocabulary(tokenizer, size, "tokenizer", name)
    return tokenizer
