"""`pickscore`: which image users pick for a prompt, by PickScore v1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rilbench import ConfigError, NeededFile, Reward, setting
from rilbench.contracts.files import hub_files
from rilbench.encoders import check_sha256, check_vocabulary, clip_pixels, from_pretrained, local_folder
from rilbench.files.hub import is_hub_id

__all__ = ["PickScore", "PickScoreSettings"]

MODEL = ("config.json", "model.safetensors")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class PickScoreSettings:
    """The network and its tokenizer; `rilbench fetch` downloads the files of Hub ids."""

    model: str = setting(
        "yuvalkirstain/PickScore_v1@a4e4367c6dfa7288a00c550414478f865b875800",
        "a folder with config.json and model.safetensors, a `package:` path, or a Hub id with its revision after an @",
        path=True,
    )
    processor: str = setting(
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K@1c2b8495b28150b8a4922ee1c8edee224c284c0c",
        "a folder or Hub id with the tokenizer of the model",
        path=True,
    )
    sha256: str | None = setting(None, "expected hexadecimal hash of model.safetensors", longest=64)


class PickScore(Reward):
    """exp(logit scale) times the cosine of image and prompt features; about 20 for generated images.

    Source: Kirstain et al., Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image Generation (2023).
    """

    Settings = PickScoreSettings
    settings: PickScoreSettings

    @classmethod
    def files(cls, settings: PickScoreSettings) -> Sequence[NeededFile]:
        wanted = ((settings.model, MODEL, ""), (settings.processor, TOKENIZER, "MIT"))
        return [file for name, names, licence in wanted if is_hub_id(name) for file in hub_files(name, names, licence)]

    def __init__(self, settings: PickScoreSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        from transformers import CLIPTokenizer

        self.model = _load_model(settings.model, settings.sha256, device)
        folder = local_folder(settings.processor, "processor", TOKENIZER)
        self._tokenizer = from_pretrained(CLIPTokenizer, folder, "processor")
        check_vocabulary(self._tokenizer, self.model.config.text_config.vocab_size, "processor", settings.processor)
        self._text: dict[str, Tensor] = {}

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        cosine = (self.image_features(images) * self.text_features(prompts)).sum(1)
        scores: Tensor = self.model.logit_scale.exp() * cosine
        return scores

    def image_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to unit vectors (B, D), differentiable in the images."""
        pixels = clip_pixels(images, self.model.config.vision_config.image_size, self.model.logit_scale)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to unit vectors (B, D), without gradient; computed once per prompt and then cached."""
        for prompt in prompts:
            if prompt not in self._text:
                self._text[prompt] = self._encode(prompt)
        return torch.stack([self._text[prompt] for prompt in prompts])

    @torch.no_grad()
    def _encode(self, prompt: str) -> Tensor:
        """One prompt at a time, without padding, so that its features do not depend on the batch."""
        limit = self.model.config.text_config.max_position_embeddings  # 77
        tokens = self._tokenizer([prompt], truncation=True, max_length=limit, return_tensors="pt")
        pooled = self.model.text_model(input_ids=tokens["input_ids"].to(self.device)).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)[0]


def _load_model(model: str, sha256: str | None, device: str) -> Any:
    """A CLIPModel in float32, frozen and in eval mode; raises ConfigError unless every weight is there and fits."""
    from transformers import CLIPModel

    folder = Path(local_folder(model, "model", MODEL))
    for file in MODEL:
        if not (folder / file).is_file():
            raise ConfigError(f"model: the folder {folder} has no {file}; download the folder again")
    if sha256 is not None:
        check_sha256(folder / MODEL[-1], sha256)
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    clip, report = from_pretrained(CLIPModel, str(folder), "model", **options)
    faults = sorted(f"{key} is {kind}" for kind in ("missing", "unexpected") for key in report[f"{kind}_keys"])
    faults += [f"{key} has shape {tuple(a)}, not {tuple(b)}" for key, a, b in sorted(report["mismatched_keys"])]
    if faults:
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ConfigError(f"model: {model} is not a CLIPModel: {faults[0]}{more}; give the folder of PickScore v1")
    return clip.to(device).eval().requires_grad_(False)
