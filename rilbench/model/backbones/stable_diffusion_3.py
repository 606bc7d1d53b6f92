"""Stable Diffusion 3 and 3.5: a transformer trained by flow matching."""

from __future__ import annotations

from torch import Tensor

from rilbench.model.backbones.base import Backbone, Condition
from rilbench.model.flow import Flow
from rilbench.model.samplers import Sampler


class StableDiffusion3(Backbone):
    """Three text encoders, of which the third is optional; condition: `text` (L, D), `pooled` (P,)."""

    prefix = "transformer"
    encoders = ("text_encoder", "text_encoder_2", "text_encoder_3")

    @property
    def sampler(self) -> Sampler:
        patches = (self.latent_side // self.network.config.patch_size) ** 2
        return Flow(self.pipeline.scheduler, self.config, patches=patches)

    @property
    def unit(self) -> int:
        return self.pixels_per_latent * int(self.network.config.patch_size)

    def encode(self, prompt: str) -> Condition:
        text, _, pooled, _ = self.pipeline.encode_prompt(
            prompt=[prompt],
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tokens,
        )
        return {"text": text[0], "pooled": pooled[0]}

    def predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        predicted: Tensor = self.network(
            z, condition["text"], pooled_projections=condition["pooled"], timestep=t.expand(len(z))
        ).sample
        return predicted
