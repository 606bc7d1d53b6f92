"""The interface that a family of pipelines implements for `TextToImage`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig
from rilbench.model.exact import Exact
from rilbench.model.reading import TextInput
from rilbench.model.samplers import DDIM, Sampler

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LARGER = (
    4  # the largest image side, in sides of the model's own; images become repetitive there, and larger ones take hours
)
Condition = dict[str, Tensor]  # what a text becomes: the denoiser's inputs by name; one prompt's has no batch dimension


class Backbone(ABC):
    """A frozen pipeline: text to condition, latent and condition to prediction, latent to image.

    Subclasses define how the denoiser is called; autoencoder, guidance and sampler differ by configuration only.
    """

    prefix: ClassVar[str]  # the pipeline's name of its denoiser, with which LoRA files name layers
    encoders: ClassVar[Sequence[str]] = ("text_encoder",)

    def __init__(self, pipeline: Any, config: ModelConfig, device: str) -> None:
        self.pipeline, self.config, self.device = pipeline, config, device
        self.network: Any = getattr(pipeline, self.prefix)
        self.vae: Any = pipeline.vae
        parts = [self.network, self.vae, *(getattr(pipeline, name) for name in self.encoders)]
        self.parts: list[Any] = [part for part in parts if part is not None]  # SD3 may lack its third text encoder
        for part in self.parts:
            part.to(device).eval().requires_grad_(False)
        if self.vae.dtype != DTYPES[config.vae_precision]:
            nn.Module.to(self.vae, DTYPES[config.vae_precision])  # diffusers' own warns of parts there are none of
        self.exact = Exact()
        self.exact.attach(self.network)
        if config.gradient_checkpointing:
            self.checkpoint(None)
        if config.vae_slicing:
            self.vae.enable_slicing()
        self._check_resolution()
        if getattr(self.vae.config, "latents_mean", None) is not None:
            raise ConfigError("model.path: its autoencoder shifts each channel (latents_mean), which is not supported")

    @classmethod
    def options(cls) -> Mapping[str, Any]:
        """More arguments for `from_pretrained`."""
        return {}

    def checkpoint(self, function: Callable[..., Any] | None) -> None:
        """Run the blocks of denoiser and autoencoder through `function(block, *inputs)`, or as configured."""
        for part in (self.network, self.vae):
            if function is not None or self.config.gradient_checkpointing:
                part.enable_gradient_checkpointing(function)
            else:
                part.disable_gradient_checkpointing()

    @property
    def guided(self) -> bool:
        """True if classifier-free guidance runs the denoiser twice."""
        return self.config.guidance > 1

    @property
    def unguided_why(self) -> str:
        """Why a negative prompt has no effect; empty if it has one."""
        if self.guided:
            return ""
        if self.config.guidance <= 1:
            return f"guidance is off (model.guidance={self.config.guidance:g}); set it above 1"
        kind = type(self.pipeline).__name__
        return f"this {kind} runs no unguided branch, because guidance is one of its inputs or built into its weights"

    @property
    def sampler(self) -> Sampler:
        """A new sampler of `config.steps` steps."""
        return sampler_for(self.pipeline.scheduler, self.config)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.vae.config.latent_channels)

    @property
    def pixels_per_latent(self) -> int:
        """The autoencoder's downsampling factor."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_side(self) -> int:
        """Height and width of a latent."""
        return self.config.resolution // self.pixels_per_latent if self.config.resolution else self.own_side

    @property
    def own_side(self) -> int:
        """`latent_side` without a configured resolution."""
        return int(self.network.config.sample_size)

    @property
    def unit(self) -> int:
        """The side of an image in pixels is a multiple of this."""
        return self.pixels_per_latent

    @property
    def tokens(self) -> int:
        """The number of tokens of a prompt that a T5 encoder receives."""
        return 256

    @property
    def text_inputs(self) -> list[TextInput]:
        """The tokenizers and limits of the pipeline's text encoders."""
        names = [name for name in self.encoders if getattr(self.pipeline, name) is not None]
        tokenizers = {name: getattr(self.pipeline, name.replace("text_encoder", "tokenizer")) for name in names}
        return [TextInput(tokenizers[name], self._limit(name, tokenizers[name])) for name in names]

    def _limit(self, name: str, tokenizer: Any) -> int:
        """The number of tokens of a prompt that an encoder receives: its positions, or the limit in `encode`."""
        positions = getattr(getattr(self.pipeline, name).config, "max_position_embeddings", None)
        return self.tokens if positions is None else min(int(tokenizer.model_max_length), positions)

    @abstractmethod
    def encode(self, prompt: str) -> Condition:
        """The condition of one prompt, encoded alone, so that it does not depend on other prompts."""

    def encode_nothing(self) -> Condition:
        """The condition of the unguided branch."""
        return self.encode("")

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The denoiser's output (B, C, h, w) at time t (a scalar of the scheduler) for latents z (B, C, h, w)."""

    def decode(self, z_0: Tensor) -> Tensor:
        """Latents (B, C, h, w) to images (B, 3, H, W) in [-1, 1], not clamped."""
        z = z_0.to(self.vae.dtype) / self.vae.config.scaling_factor
        if self.vae.config.shift_factor is not None:
            z = z + self.vae.config.shift_factor
        images: Tensor = self.vae.decode(z).sample
        return images

    def _check_resolution(self) -> None:
        size = self.config.resolution
        if size is not None and (size < self.unit or size % self.unit):
            raise ConfigError(f"model.resolution: {size} is not a multiple of {self.unit}")
        own = self.own_side * self.pixels_per_latent
        if size is not None and size > LARGER * own:
            raise ConfigError(f"model.resolution: {size} is more than {LARGER} times the {own} pixels of this model")


def sampler_for(source: Any, config: ModelConfig) -> Sampler:
    """The sampler of a UNet: `config.sampler`, or what the pipeline's own scheduler is a case of.

    ConfigError for a scheduler without the noise levels of a diffusion in discrete time, such as EDM's.
    """
    from diffusers import LCMScheduler

    if "beta_schedule" not in source.config:
        kind = type(source).__name__
        raise ConfigError(f"model.path: its scheduler, {kind}, has no DDIM form; the model cannot be sampled")
    kind = config.sampler if config.sampler != "auto" else "lcm" if isinstance(source, LCMScheduler) else "ddim"
    if kind == "ddim":
        return DDIM(source, config)
    from rilbench.model.consistency import Consistency

    return Consistency(source, config)
