"""Stable Diffusion XL, SDXL-Turbo, and latent consistency models made from them."""

from __future__ import annotations

import torch
from torch import Tensor

from rilbench.model.backbones.base import Condition
from rilbench.model.backbones.stable_diffusion import UNet


class StableDiffusionXL(UNet):
    """Two text encoders; condition: `text` (L, D), `pooled` (P,). The size conditions are those of an uncropped
    image."""

    encoders = ("text_encoder", "text_encoder_2")

    def encode(self, prompt: str) -> Condition:
        text, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=[prompt], device=self.device, do_classifier_free_guidance=False
        )
        return {"text": text[0], "pooled": pooled[0]}

    def encode_nothing(self) -> Condition:
        """Zeros if the pipeline was trained with zeros."""
        nothing = self.encode("")
        zeros = self.pipeline.config.force_zeros_for_empty_prompt
        return {key: torch.zeros_like(value) for key, value in nothing.items()} if zeros else nothing

    def predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        size = self.latent_side * self.pixels_per_latent
        times = torch.tensor([[size, size, 0, 0, size, size]], device=z.device, dtype=condition["text"].dtype)
        predicted: Tensor = self.network(
            z,
            t,
            condition["text"],
            timestep_cond=self.guidance_input(z),
            added_cond_kwargs={"text_embeds": condition["pooled"], "time_ids": times.expand(len(z), -1)},
        ).sample
        return predicted
