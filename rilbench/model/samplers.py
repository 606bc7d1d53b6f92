"""From z_i to z_{i-1} by a prediction: DDIM here, flows and consistency models in modules of their own.

The samplers are deterministic, stateless functions of z_N, so that a step can be taken twice (student, teacher) and
differentiated. The noise that diffusers' schedules add comes from its schedulers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig

PREDICTIONS = ("epsilon", "v_prediction", "sample")  # outputs of a diffusion network


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
        check_steps(self.scheduler, config.steps)
        self.scheduler.set_timesteps(config.steps)
        _check_times(self.scheduler, config)
        check_prediction(self.scheduler)

    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        previous: Tensor = self.scheduler.step(prediction, self.time(i), z).prev_sample
        return previous


def check_steps(scheduler: Any, steps: int) -> None:
    """ConfigError for more steps than the model has."""
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


def check_prediction(scheduler: Any) -> None:
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
