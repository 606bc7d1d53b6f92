"""Stable Diffusion 1.x and 2.x, SD-Turbo, and latent consistency models made from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rilbench.model.backbones.base import Backbone, Condition


class UNet(Backbone):
    """A UNet with cross attention to text features."""

    prefix = "unet"

    @property
    def guided(self) -> bool:
        return super().guided and not self._embeds_guidance

    @property
    def _embeds_guidance(self) -> bool:
        """True if the guidance weight is an input of the network, as in guidance-distilled models."""
        return self.network.config.time_cond_proj_dim is not None

    def guidance_input(self, z: Tensor) -> Tensor | None:
        """(B, D), the guidance weight as an input, or None."""
        if not self._embeds_guidance:
            return None
        weights = torch.full((len(z),), self.config.guidance - 1)
        width = self.network.config.time_cond_proj_dim
        embedded: Tensor = self.pipeline.get_guidance_scale_embedding(weights, embedding_dim=width)
        return embedded.to(z)


class StableDiffusion(UNet):
    """One text encoder; condition: `text` (L, D)."""

    @classmethod
    def options(cls) -> Mapping[str, Any]:
        return {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}

    def encode(self, prompt: str) -> Condition:
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        tokens = tokenizer([prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return {"text": encoder(tokens.input_ids.to(self.device)).last_hidden_state[0]}

    def predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        predicted: Tensor = self.network(z, t, condition["text"], timestep_cond=self.guidance_input(z)).sample
        return predicted
