"""Flux: a transformer trained by flow matching on patches of 2 x 2 latents, guidance being one of its inputs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rilbench.model.backbones.base import Backbone, Condition
from rilbench.model.flow import Flow
from rilbench.model.samplers import Sampler

TOKENS, TOKENS_DISTILLED = 512, 256  # of the T5 encoder; the second for models without guidance as an input (schnell)


class Flux(Backbone):
    """Two text encoders; condition: `text` (L, D), `pooled` (P,). No second forward for guidance."""

    prefix = "transformer"
    encoders = ("text_encoder", "text_encoder_2")

    @property
    def guided(self) -> bool:
        return False

    @property
    def sampler(self) -> Sampler:
        patches, steps = (self.latent_side // 2) ** 2, self.config.steps
        return Flow(self.pipeline.scheduler, self.config, patches=patches, sigmas=np.linspace(1.0, 1 / steps, steps))

    @property
    def own_side(self) -> int:
        return int(self.pipeline.default_sample_size)

    @property
    def unit(self) -> int:
        return 2 * self.pixels_per_latent

    @property
    def tokens(self) -> int:
        return TOKENS if self.network.config.guidance_embeds else TOKENS_DISTILLED

    def encode(self, prompt: str) -> Condition:
        text, pooled, _ = self.pipeline.encode_prompt(
            prompt=[prompt], prompt_2=None, device=self.device, max_sequence_length=self.tokens
        )
        return {"text": text[0], "pooled": pooled[0]}

    def predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        text, (h, w) = condition["text"], z.shape[2:]
        predicted = self.network(
            torch.nn.functional.pixel_unshuffle(z, 2).flatten(2).transpose(1, 2),  # (B, hw/4, 4C)
            encoder_hidden_states=text,
            pooled_projections=condition["pooled"],
            timestep=(t / 1000).expand(len(z)).to(z.dtype),
            img_ids=_places(h // 2, w // 2).to(z),
            txt_ids=torch.zeros(text.shape[1], 3).to(z),
            guidance=self._guidance(len(z)),
        ).sample
        grid = predicted.transpose(1, 2).unflatten(2, (h // 2, w // 2))
        unpacked: Tensor = torch.nn.functional.pixel_shuffle(grid, 2)
        return unpacked

    def _guidance(self, batch: int) -> Tensor | None:
        if not self.network.config.guidance_embeds:
            return None
        return torch.full((batch,), self.config.guidance, device=self.device)


def _places(h: int, w: int) -> Tensor:
    """Row and column of every patch, (h w, 3)."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1)
