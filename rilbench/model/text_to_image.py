"""`TextToImage`: one interface over a latent diffusion pipeline, with the gradient where reward tuning needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rilbench.contracts.prompt import Prompt
from rilbench.model.backbones.base import DTYPES, Backbone, Condition
from rilbench.model.config import ModelConfig
from rilbench.model.loading import load_backbone, pipeline_folder
from rilbench.model.reading import Captions, Reading, cut_remarks, readings, remarks, unused_remarks


class TextToImage:
    """A frozen pipeline: prompts and noise to images, in separate steps.

    The latent before denoising step i of N (i = N first) is the paper's z_i, and z_0 the clean one.
    """

    def __init__(self, backbone: Backbone, captions: Captions | None = None) -> None:
        self.backbone, self.config, self.device = backbone, backbone.config, backbone.device
        self.network: nn.Module = backbone.network  # the denoiser, which the adapters are attached to
        self.vae: Any = backbone.vae
        self.sampler = backbone.sampler
        self.captions = captions
        self._conditions: dict[str | None, Condition] = {}

    @classmethod
    def load(cls, config: ModelConfig) -> TextToImage:
        """Load the diffusers pipeline at `config.path`; ConfigError if it is missing or corrupt."""
        return cls(load_backbone(config), Captions.of(pipeline_folder(config)))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of z_N; more than a latent's channels where the sampler's later noise is part of it."""
        side = self.backbone.latent_side
        return self.backbone.channels * self.sampler.maps(self.config.steps), side, side

    @torch.no_grad()
    def encode(self, prompts: Sequence[str | None]) -> Condition:
        """The conditions of texts, None being the unguided branch without a negative prompt; each is computed once."""
        for prompt in prompts:
            if prompt not in self._conditions:
                encode = self.backbone.encode
                self._conditions[prompt] = self.backbone.encode_nothing() if prompt is None else encode(prompt)
        conditions = [self._conditions[prompt] for prompt in prompts]
        return {key: torch.stack([one[key] for one in conditions]) for key in conditions[0]}

    def readings(self, prompts: Sequence[Prompt]) -> list[Reading]:
        """The part of each prompt that the text encoders receive."""
        return readings(self.backbone.text_inputs, [prompt.text for prompt in prompts])

    def remarks(self, prompts: Sequence[Prompt], where: str) -> list[str]:
        """Warnings about prompts of a setting or option that the model cannot read in full."""
        lines = remarks(self.readings(prompts), prompts, where)
        if self.captions:
            lines += self.captions.remarks([prompt.text for prompt in prompts], where)
        negatives = {prompt.negative or self.config.negative_prompt for prompt in prompts} - {""}
        if self.backbone.unguided_why:
            return lines + unused_remarks(prompts, self.backbone.unguided_why, where)
        return lines + cut_remarks(readings(self.backbone.text_inputs, sorted(negatives)), where)

    @torch.no_grad()
    def rollout(
        self, z: Tensor, prompts: Sequence[str], *, negatives: Sequence[str] | None = None, stop: int = 0
    ) -> Tensor:
        """z_N (B, C, h, w) to z_stop without gradient.

        negatives: of each prompt; empty ones are `model.negative_prompt`, by default all.
        """
        return self._denoise(z.to(self.device), prompts, negatives, self.config.steps, stop, together=True)

    def finish(
        self, z: Tensor, prompts: Sequence[str], *, negatives: Sequence[str] | None = None, last_steps: int
    ) -> Tensor:
        """z_K to z_0 (B, C, h, w), K = last_steps, with gradient to the adapters, in float32 (`rilbench.model.exact`).

        It runs the same forwards with and without gradient, so that equal models give equal bits.
        """
        together = self.config.guidance_gradient
        return self._denoise(z, prompts, negatives, last_steps, 0, together=together, precision=torch.float32)

    def decode(self, z_0: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W), float32 in [0, 1]; differentiable."""
        images = self.backbone.decode(z_0)
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def _denoise(
        self,
        z: Tensor,
        prompts: Sequence[str],
        negatives: Sequence[str] | None,
        first: int,
        stop: int,
        *,
        together: bool,
        precision: torch.dtype | None = None,
    ) -> Tensor:
        """precision: of the denoiser's activations; by default that of its weights."""
        precision = precision or DTYPES[self.config.precision]
        condition = _cast(self.encode(prompts), precision)
        own = negatives or [""] * len(prompts)
        avoided = [text or self.config.negative_prompt or None for text in own]
        nothing = _cast(self.encode(avoided), precision) if self.backbone.guided else None
        for i in range(first, stop, -1):
            latents = z[:, : self.backbone.channels].to(precision)
            z = self.sampler.step(i, z, self._prediction(latents, self.sampler.time(i), condition, nothing, together))
        return z

    def _prediction(
        self, z: Tensor, t: Tensor, condition: Condition, nothing: Condition | None, together: bool = True
    ) -> Tensor:
        """The denoiser's output (B, C, h, w) in float32, with classifier-free guidance.

        together: guided and unguided in one forward; apart, the unguided one carries no gradient.
        """
        if nothing is None:
            return self._predict(z, t, condition)
        if together:
            both = {key: torch.cat([nothing[key], condition[key]]) for key in condition}
            unguided, guided = self._predict(torch.cat([z, z]), t, both).chunk(2)
        else:
            with torch.no_grad():
                unguided = self._predict(z, t, nothing)
            guided = self._predict(z, t, condition)
        return unguided + self.config.guidance * (guided - unguided)

    def _predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self.backbone.predict(z, t.to(z.device), condition).float()


def _cast(condition: Condition, precision: torch.dtype) -> Condition:
    return {key: value.to(precision) if value.is_floating_point() else value for key, value in condition.items()}
