"""`TextToImage`: one interface over a latent diffusion pipeline, with the gradient where reward tuning needs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rilbench.config import ModelConfig
from rilbench.errors import ConfigError
from rilbench.resources import resolve

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TextToImage:
    """A frozen Stable-Diffusion-like pipeline: prompts and noise to images, in separate steps.

    The latent before denoising step i of N (i = N first) is the paper's z_i, and z_0 the clean one.
    """

    def __init__(self, pipeline: Any, config: ModelConfig, device: str) -> None:
        self.pipeline, self.config, self.device = pipeline, config, device
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self._tokenizer, self._text_encoder = pipeline.tokenizer, pipeline.text_encoder
        for part in (self.unet, self.vae, self._text_encoder):
            part.to(device).eval().requires_grad_(False)
        if config.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.vae.enable_gradient_checkpointing()
        self.scheduler = _scheduler(pipeline.scheduler, config)
        factor = self.pixels_per_latent
        if config.resolution is not None and (config.resolution < factor or config.resolution % factor):
            raise ConfigError(f"model.resolution: {config.resolution} is not a multiple of {factor}")
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, config: ModelConfig) -> TextToImage:
        """Load the diffusers pipeline at `config.path`; ConfigError when it is missing or corrupt."""
        import transformers
        from diffusers import StableDiffusionPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        path = resolve(config.path)
        if not Path(path).exists() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
            raise ConfigError(f"model.path: no folder at {config.path!r}")
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                path,
                revision=config.revision,
                dtype=DTYPES[config.precision],
                use_safetensors=True,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"model.path: cannot load {config.path!r}: {type(error).__name__}: {reason}") from error
        return cls(pipeline, config, device=pick_device(config.device))

    @property
    def pixels_per_latent(self) -> int:
        """The autoencoder's downsampling factor."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a latent."""
        side = (
            self.config.resolution // self.pixels_per_latent if self.config.resolution else self.unet.config.sample_size
        )
        return int(self.unet.config.in_channels), int(side), int(side)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Text features (B, L, D), computed once per distinct prompt."""
        for prompt in prompts:
            if prompt not in self._texts:
                self._texts[prompt] = self._encode_one(prompt)
        return torch.stack([self._texts[p] for p in prompts])

    def _encode_one(self, prompt: str) -> Tensor:
        """(L, D); alone, so that the features do not depend on which prompts came before."""
        length = min(self._tokenizer.model_max_length, self._text_encoder.config.max_position_embeddings)
        tokens = self._tokenizer(
            [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        features: Tensor = self._text_encoder(tokens.input_ids.to(self.device)).last_hidden_state[0]
        return features

    @torch.no_grad()
    def rollout(self, z: Tensor, prompts: Sequence[str], *, stop: int = 0) -> Tensor:
        """z_N (B, C, h, w) to z_stop without gradient."""
        return self._denoise(z.to(self.device), prompts, self.config.steps, stop)

    def finish(self, z: Tensor, prompts: Sequence[str], *, last_steps: int) -> Tensor:
        """z_K to z_0 (B, C, h, w), K = last_steps, with gradient to the adapters."""
        return self._denoise(z, prompts, last_steps, 0)

    def decode(self, z_0: Tensor) -> Tensor:
        """Latents to images (B, 3, H, W), float32 in [0, 1]; differentiable."""
        with self._autocast():
            images: Tensor = self.vae.decode(z_0.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def _denoise(self, z: Tensor, prompts: Sequence[str], first: int, stop: int) -> Tensor:
        context = self.encode(prompts)
        if self.config.guidance != 1:
            context = torch.cat([self.encode([""] * len(prompts)), context])
        for i in range(first, stop, -1):
            t = self.scheduler.timesteps[self.config.steps - i]
            z = self._step(z, t, context)
        return z

    def _step(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        previous: Tensor = self.scheduler.step(self._epsilon(z, t, context), t, z).prev_sample
        return previous

    def _epsilon(self, z: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The noise prediction in float32, with classifier-free guidance when the context holds both halves."""
        with self._autocast():
            doubled = z if len(context) == len(z) else torch.cat([z, z])
            epsilon: Tensor = self.unet(doubled.to(self.unet.dtype), t, context).sample.float()
        if len(context) == len(z):
            return epsilon
        free, bound = epsilon.chunk(2)
        return free + self.config.guidance * (bound - free)

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES[self.config.precision]
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)


def pick_device(name: str) -> str:
    """`auto` is cuda when there is one; ConfigError for a device that is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except Exception as error:  # torch raises several kinds for an unknown or absent device
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.device: {name!r} is not available here ({reason}); use auto, cpu or cuda") from None
    return name


def _scheduler(source: Any, config: ModelConfig) -> Any:
    """DDIM with the pipeline's own noise schedule; the class default would clip samples."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(source.config, timestep_spacing=config.spacing, clip_sample=False)
    if config.steps > scheduler.config.num_train_timesteps:
        raise ConfigError(
            f"model.steps: {config.steps} is more than the model's {scheduler.config.num_train_timesteps}"
        )
    scheduler.set_timesteps(config.steps)
    return scheduler
