"""The sampler of latent consistency models."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig
from rilbench.model.samplers import Sampler, check_prediction


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
        check_prediction(self.scheduler)

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
