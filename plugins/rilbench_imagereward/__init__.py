"""`imagereward`: which image people prefer for a prompt, by ImageReward v1.0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rilbench import ConfigError, Reward
from rilbench.encoders import check_sha256, read_tensors, resize
from rilbench.resources import resolve
from rilbench_imagereward.model import Network, filled
from rilbench_imagereward.sizes import Sizes, read_sizes
from rilbench_imagereward.tokens import Tokens

__all__ = ["ImageReward", "ImageRewardSettings"]

SOURCE = "download ImageReward.pt (1.79 GB) from the Hub repository zai-org/ImageReward (once THUDM/ImageReward)"
MEAN = (0.48145466, 0.4578275, 0.40821073)  # as CLIP
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class ImageRewardSettings:
    """weights: the path of ImageReward.pt, or of its tensors as `.safetensors`; needed, from the Hub repository
        zai-org/ImageReward.

    config: that repository's med_config.json; None has the published sizes, see `Sizes` for others.
    tokenizer: a folder or Hub id with the vocabulary of bert-base-uncased; [DEC] and [ENC] are added.
    sha256: what the weight file must hash to; of the published one
        d71dc8d4912bc633c06ab8ef1ef6a81e8199d4369f14b47b29baf1d19de561f6.
    """

    weights: str | None = None
    config: str | None = None
    tokenizer: str = "google-bert/bert-base-uncased"
    sha256: str | None = None


class ImageReward(Reward):
    """A score of mean 0 and deviation 1 over its training set, unbounded; mostly -2 to 2.

    Source: Xu et al., ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation (2023).
    """

    Settings = ImageRewardSettings
    settings: ImageRewardSettings

    def __init__(self, settings: ImageRewardSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        sizes = read_sizes(settings.config)
        self.network = _load(settings, sizes).to(device).eval().requires_grad_(False)
        self.image_size = sizes.vision.image_size
        self._tokens = Tokens(settings.tokenizer, sizes.vocab_size, device)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        weight = next(self.network.parameters())
        mean, std = (weight.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        pixels = (resize(images.to(weight), self.image_size) - mean) / std
        scores: Tensor = self.network(pixels, *self._tokens(prompts))
        return scores


def _load(settings: ImageRewardSettings, sizes: Sizes) -> Network:
    if settings.weights is None:
        raise ConfigError(f"weights: name the weight file; {SOURCE}")
    path = resolve(settings.weights)
    if not Path(path).is_file():
        raise ConfigError(f"weights: no file at {path}; correct the path, or {SOURCE}")
    if settings.sha256 is not None:
        check_sha256(path, settings.sha256)
    return filled(sizes, read_tensors(path, "weights"), path)
