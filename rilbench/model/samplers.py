"""From z_i to z_{i-1} by a prediction: DDIM, Euler steps of a flow, and consistency models.

The samplers are deterministic, stateless functions of z_N, so that a step can be taken twice (student, teacher) and
differentiated. The noise that diffusers' schedules add comes from its schedulers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig

PREDICTIONS = ("epsilon", "v_prediction", "sample")  # what a network of a diffusion puts out


class Sampler(ABC):
    """N steps; z_i is the state before step i, i = N first, and z_0 the clean latent."""

    scheduler: Any

    def maps(self, i: int) -> int:
        """How many latents z_i consists of, along the channels: the first is denoised, others are noise still to be
        used."""
        return 1

    def time(self, i: int) -> Tensor:
        """The time input of the denoiser at step i."""
        times: Tensor = self.scheduler.timesteps
        return times[len(times) - i]

    @abstractmethod
    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        """z_{i-1} from z_i and the denoiser's output (B, C, h, w) for it, both float32."""


class DDIM(Sampler):
    """DDIM with eta = 0, for networks that predict noise, v or z_0."""

    def __init__(self, source: Any, config: ModelConfig) -> None:
        from diffusers import DDIMScheduler

        # the class default would clip samples
        self.scheduler = DDIMScheduler.from_config(
            source.config, timestep_spacing=config.spacing, clip_sample=False, thresholding=False
        )
        _check_steps(self.scheduler, config.steps)
        self.scheduler.set_timesteps(config.steps)
        _check_times(self.scheduler, config)
        _check_prediction(self.scheduler)

    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        previous: Tensor = self.scheduler.step(prediction, self.time(i), z).prev_sample
        return previous


class Flow(Sampler):
    """Euler steps along a velocity field (flow matching), with the shift the scheduler gives images of this size."""

    def __init__(self, source: Any, config: ModelConfig, *, patches: int, sigmas: np.ndarray | None = None) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        if config.sampler != "auto":
            raise ConfigError(f"model.sampler: {config.sampler} is not for a flow-matching model; set it to auto")
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_config(source.config)
        _check_steps(self.scheduler, config.steps)
        own, shift = self.scheduler.config, None
        if own.use_dynamic_shifting:
            shift = calculate_shift(
                patches, own.base_image_seq_len, own.max_image_seq_len, own.base_shift, own.max_shift
            )
        self.scheduler.set_timesteps(config.steps, sigmas=sigmas, mu=shift)

    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        sigma = self.scheduler.sigmas[-i - 1 :]  # of z_i, then of z_{i-1}
        return z + float(sigma[1] - sigma[0]) * prediction


class Consistency(Sampler):
    """Multistep consistency sampling (latent consistency models): every step but the last adds new noise.

    The noise is part of z_N, so an image depends on z_N alone: z_i holds the latent and i - 1 maps of noise.
    """

    def __init__(self, source: Any, config: ModelConfig) -> None:
        from diffusers import LCMScheduler

        self.scheduler = LCMScheduler.from_config(source.config)
        most = self.scheduler.config.original_inference_steps
        if config.steps > most:
            raise ConfigError(f"model.steps: {config.steps} is more than the {most} of this consistency model")
        self.scheduler.set_timesteps(config.steps)
        _check_prediction(self.scheduler)

    def maps(self, i: int) -> int:
        return max(i, 1)

    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        z_i, noise = z[:, : prediction.shape[1]], z[:, prediction.shape[1] :]
        skip, out = self.scheduler.get_scalings_for_boundary_condition_discrete(self.time(i).item())
        clean = float(out) * self._clean(i, z_i, prediction) + float(skip) * z_i
        if i == 1:
            return clean
        signal, share = self._shares(i - 1)
        again, later = noise[:, : prediction.shape[1]], noise[:, prediction.shape[1] :]
        return torch.cat([signal * clean + share * again, later], dim=1)

    def _shares(self, i: int) -> tuple[float, float]:
        """The factors of signal and noise in z_i."""
        alpha = float(self.scheduler.alphas_cumprod[int(self.time(i))])
        return math.sqrt(alpha), math.sqrt(1 - alpha)

    def _clean(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        """The estimate of z_0 from the prediction for z_i."""
        signal, share = self._shares(i)
        kind = self.scheduler.config.prediction_type
        if kind == "epsilon":
            return (z - share * prediction) / signal
        return signal * z - share * prediction if kind == "v_prediction" else prediction


def sampler_for(source: Any, config: ModelConfig) -> Sampler:
    """The sampler of a UNet: `config.sampler`, or what the pipeline's own scheduler is a case of.

    ConfigError for a scheduler without the noise levels of a diffusion in discrete time, such as EDM's.
    """
    from diffusers import LCMScheduler

    if "beta_schedule" not in source.config:
        kind = type(source).__name__
        raise ConfigError(f"model.path: its scheduler, {kind}, has no DDIM form; the model cannot be sampled")
    kind = config.sampler if config.sampler != "auto" else "lcm" if isinstance(source, LCMScheduler) else "ddim"
    return Consistency(source, config) if kind == "lcm" else DDIM(source, config)


def _check_steps(scheduler: Any, steps: int) -> None:
    most = scheduler.config.num_train_timesteps
    if steps > most:
        raise ConfigError(f"model.steps: {steps} is more than the model's {most}")


def _check_times(scheduler: Any, config: ModelConfig) -> None:
    """Raises ConfigError if the first step is after the noisiest timestep, because of the scheduler's steps_offset."""
    first, most = int(scheduler.timesteps.max()), int(scheduler.config.num_train_timesteps)
    if first >= most:
        raise ConfigError(
            f"model.steps: with {config.steps} steps the first is timestep {first}, because the scheduler's "
            f"steps_offset is {scheduler.config.steps_offset}; the model's last is {most - 1}. Set a smaller "
            "model.steps, or model.spacing=trailing"
        )


def _check_prediction(scheduler: Any) -> None:
    """Raises ConfigError for a network's output that no sampler supports, or not at the noise levels of the steps."""
    kind = scheduler.config.prediction_type
    if kind not in PREDICTIONS:
        raise ConfigError(
            f"model.path: scheduler/scheduler_config.json has prediction_type {kind!r}; known are "
            f"{', '.join(PREDICTIONS)}"
        )
    if kind == "epsilon" and (scheduler.alphas_cumprod[scheduler.timesteps.cpu()] <= 0).any():
        raise ConfigError(
            "model.path: its schedule ends in pure noise (rescale_betas_zero_snr), where a prediction of the noise "
            "says nothing of the image; set prediction_type to v_prediction or rescale_betas_zero_snr to false in "
            "scheduler/scheduler_config.json, as the model was trained, or model.spacing=leading"
        )
